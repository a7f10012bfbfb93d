"""The ST-CNN of table 1, taught by each other."""
