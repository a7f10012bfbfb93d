"""The names that the public functions take, as types: type checkers refuse a misspelt one.

At run time every registered name passes, and a name that is not registered is an error which says
the nearest one.
"""

from typing import Literal

PaddingName = Literal["zeros", "fill", "border", "reflection", "mirror", "wrap"]

BackendName = Literal["auto", "eager", "cpu", "triton", "reference"]

KernelName = Literal[
    "nearest", "bilinear", "bicubic", "lanczos",
    "bspline0", "bspline1", "bspline2", "bspline3", "bspline4", "bspline5",
]  # fmt: skip

TransformName = Literal[
    "translation", "attention", "rigid", "similarity", "affine", "projective",
    "thin_plate_spline", "piecewise_affine", "bspline", "linear_basis",
    "displacement", "diffeomorphic", "pixel_affine", "log_polar",
]  # fmt: skip

LocalisationName = Literal["fully_connected", "convolutional"]

#: the trained networks with a transformer on their input, and those without
TransformedName = Literal[
    "st_cnn_affine_e", "st_cnn_affine_p", "st_cnn_affine_rts", "st_cnn_affine_rts_small",
    "st_cnn_affine_tc", "st_cnn_thin_plate_spline_r",
]  # fmt: skip
ClassifierName = Literal["cnn_r", "cnn_rts_small"]
