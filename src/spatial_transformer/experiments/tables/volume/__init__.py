"""The paper's 3-D experiment."""
