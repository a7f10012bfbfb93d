"""Recurrent spatial transformers: sequences of digits."""
