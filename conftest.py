"""What pytest does not import to look for doctests."""

# they need Triton, and importing them settles whether its interpreter runs them
_TRITON = "src/spatial_transformer/ops/triton"
collect_ignore = [f"{_TRITON}/{n}.py" for n in ("backward", "coordinates", "forward", "taps")]
