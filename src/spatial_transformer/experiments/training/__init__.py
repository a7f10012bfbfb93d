"""The training loop, checkpoints and records."""
