"""What renders this repository's own README, tables and plots; not in the wheel."""
