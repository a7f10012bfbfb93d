"""Table 1 of the paper: distorted MNIST."""
