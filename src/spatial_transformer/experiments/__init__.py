"""The experiments: one folder a table of the paper."""
