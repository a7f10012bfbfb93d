"""``stn demo``: trained networks and transforms live in the browser."""

from spatial_transformer.extras import check_installed

check_installed("demo", "matplotlib", "PIL", "lightning_fabric", "rich")
