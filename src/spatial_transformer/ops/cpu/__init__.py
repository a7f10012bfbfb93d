"""The fused operators in C++: the kernels' sources, their loader and their calls."""
