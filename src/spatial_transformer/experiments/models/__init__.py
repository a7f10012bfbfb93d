"""The classifiers and the networks of the paper."""
