"""Inverse-compositional spatial transformers."""
