"""The layers: SpatialTransformer, Parallel, and their parameters' groups."""
