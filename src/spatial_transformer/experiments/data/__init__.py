"""Data sets and generators, one a file."""
