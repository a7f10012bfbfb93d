"""``stn demo``: trained networks and transforms in the browser, live."""
