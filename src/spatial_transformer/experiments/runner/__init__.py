"""Runs, from config to record, and tables of runs."""
