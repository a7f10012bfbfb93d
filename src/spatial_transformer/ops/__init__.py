"""Fused warps (theta -> image, the grid never built), and the float64 oracle."""
