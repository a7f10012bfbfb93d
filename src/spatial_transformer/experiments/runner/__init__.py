"""Runs, from config to record, and tables of runs."""

from spatial_transformer.extras import check_installed

check_installed("experiments", "lightning_fabric", "rich")
