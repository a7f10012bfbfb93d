"""What pytest does not import to look for doctests, and signals as a terminal has them."""

import signal

# a shell's background jobs ignore it, and our handlers leave that as it is
signal.signal(signal.SIGINT, signal.default_int_handler)

# they need Triton, and importing them settles whether its interpreter runs them
_TRITON = "src/spatial_transformer/ops/triton"
collect_ignore = [f"{_TRITON}/{n}.py" for n in ("backward", "coordinates", "forward", "taps")]
