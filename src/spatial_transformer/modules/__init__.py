"""The layers (SpatialTransformer, Parallel, Cascade), their parameter groups and their monitor."""
