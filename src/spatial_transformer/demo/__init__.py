"""``stn demo``: trained networks and transforms live in the browser."""
