"""One run from its config to its record, and tables of runs."""
