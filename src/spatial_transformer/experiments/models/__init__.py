"""The paper's classifiers and other networks."""
