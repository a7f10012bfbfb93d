"""The training loop, checkpoints and records."""

from spatial_transformer.extras import check_installed

check_installed("experiments", "lightning_fabric", "rich")
