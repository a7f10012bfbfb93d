"""A folder an experiment: its config, and its page with the numbers."""
