"""Fused warps (theta to image, without a grid), their backends, and the float64 reference."""
