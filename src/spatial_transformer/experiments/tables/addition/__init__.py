"""Table 4 of the paper: MNIST addition."""
