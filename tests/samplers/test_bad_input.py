"""Every family of bad input is told in words that name what was wrong."""

import math

import numpy as np
import pytest
import torch

import spatial_transformer as stn
from spatial_transformer.coordinates import grid_from_flow, grid_from_pixels
from spatial_transformer.errors import BackendError, DTypeError, OptionError, ShapeError
from spatial_transformer.ops.backend import BACKENDS
from spatial_transformer.samplers.bilinear import Bilinear

IMAGE, GRID = torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 7, 2)
THETA = torch.zeros(2, 6)


def make_localisation(name, **options):
    return stn.make_localisation(name, "affine", **options)


@pytest.mark.parametrize(
    ("image", "grid", "error", "message"),
    [
        (
            IMAGE[0],
            GRID,
            ShapeError,
            r"image must be \(B, C, H, W\).*got \(3, 4, 5\).*image\[None\]",
        ),
        (IMAGE, GRID[0], ShapeError, r"grid must be \(B, H', W', 2\).*got \(6, 7, 2\)"),
        (IMAGE, torch.zeros(2, 6, 7, 3), ShapeError, r"grid must be .*got \(2, 6, 7, 3\)"),
        (IMAGE, torch.zeros(3, 6, 7, 2), ShapeError, r"differ in batch: 2 against 3"),
        (IMAGE[:0], GRID, ShapeError, r"differ in batch: 0 against 2"),
        (IMAGE[..., :0], GRID, ShapeError, r"image \(2, 3, 4, 0\) has no pixels"),
        (IMAGE.int(), GRID, DTypeError, r"floating point, got torch.int32.*image.float\(\)"),
        (IMAGE.to(torch.complex64), GRID, DTypeError, "got torch.complex64"),
        (IMAGE, GRID.int(), DTypeError, "grid must be floating point, got torch.int32"),
        ([[1.0]], GRID, DTypeError, "image must be a tensor, got list"),
        (IMAGE, [[1.0]], DTypeError, "grid must be a tensor, got list"),
        (IMAGE, GRID.to("meta"), DTypeError, "image is on cpu but grid on meta"),
    ],
)
def test_tensors(image, grid, error, message):
    with pytest.raises(error, match=message):
        stn.sample(image, grid)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel": "bilinaer"}, OptionError, "unknown kernel 'bilinaer'. Did you mean 'bilinear'"),
        ({"kernel": 3}, OptionError, "a callable k.* with an attribute `support`.*got 3"),
        ({"padding": "edge"}, OptionError, "unknown padding 'edge'. Known: zeros, fill, border"),
        ({"padding": "fill"}, OptionError, "padding='fill' needs fill="),
        ({"fill": 1.0}, OptionError, "contradicts padding='zeros'"),
        ({"padding": "fill", "fill": [1.0, 2.0]}, ShapeError, "3 channels, got shape"),
        ({"padding": "fill", "fill": "red"}, OptionError, "fill must be a number, .* got 'red'"),
        ({"padding": "fill", "fill": 2j}, OptionError, "fill must be a number"),
        ({"padding": "fill", "fill": torch.tensor(2j)}, OptionError, "fill must be a number"),
        ({"padding": "fill", "fill": [1, 2, "x"]}, OptionError, "fill must be a number"),
        ({"padding": "fill", "fill": [1, 2, 1e39]}, OptionError, "not a value of .*float32"),
        ({"kernel": Bilinear}, OptionError, "kernel must be a name or .*got <class"),
        ({"antialias": 0}, OptionError, "antialias must be True, False or a number .*got 0"),
        ({"antialias": None}, OptionError, "antialias must be True, False or .*got None"),
        ({"backend": "cuda"}, OptionError, "unknown backend 'cuda'. Known: auto, eager"),
        ({"align_corners": "no"}, OptionError, "align_corners must be True or False, got 'no'"),
    ],
)
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        stn.sample(IMAGE, GRID, **options)


def test_a_named_backend_that_is_not_there_says_why(monkeypatch):
    monkeypatch.setattr(BACKENDS["triton"], "available", lambda: (False, "there is no GPU"))
    with pytest.raises(BackendError, match="'triton' is not available: there is no GPU"):
        stn.sample(IMAGE, GRID, backend="triton")


def test_warp():
    with pytest.raises(ShapeError, match=r"theta must be \(B, 6\).*got \(2, 5\)"):
        stn.warp(IMAGE, THETA[:, :5], "affine")
    with pytest.raises(ShapeError, match="differ in batch: 2 against 3"):
        stn.warp(IMAGE, torch.zeros(3, 6), "affine")
    with pytest.raises(ShapeError, match=r"'affine' has dims=2, but image is \(2, 3, 4, 5, 6\)"):
        stn.warp(torch.zeros(2, 3, 4, 5, 6), THETA, "affine")
    with pytest.raises(ShapeError, match=r"got \(4, -1\)"):
        stn.warp(IMAGE, THETA, "affine", (4, -1))
    with pytest.raises(OptionError, match="unknown transform 'afine'. Did you mean 'affine'"):
        stn.warp(IMAGE, THETA, "afine")
    with pytest.raises(DTypeError, match="floating point, got torch.uint8"):
        stn.warp(IMAGE.byte(), THETA, "affine")


@pytest.mark.parametrize("backend", ["auto", "eager", "reference"])
def test_a_fill_of_another_batch(backend):
    options = {"padding": "fill", "fill": torch.zeros(3, 3), "backend": backend}
    for image, theta in ((IMAGE[:1], THETA[:1]), (IMAGE, THETA), (IMAGE[:1], THETA[None])):
        with pytest.raises(ShapeError, match=r"fill \(3, 3\) differs in batch .*: 3 against"):
            stn.warp(image, theta, "affine", **options)
    with pytest.raises(ShapeError, match=r"fill \(3, 3\) differs in batch .*: 3 against 2"):
        stn.sample(IMAGE, GRID, **options)
    assert stn.warp(IMAGE[:1], torch.zeros(3, 6), "affine", **options).shape[0] == 3


@pytest.mark.parametrize(("dtype", "fill"), [(torch.uint8, 0.5), (torch.uint8, -1),
                                             (torch.uint8, 300), (torch.int64, 1.5),
                                             (torch.int64, math.inf)])  # fmt: skip
def test_a_fill_that_an_integer_image_cannot_hold(dtype, fill):
    options = {"kernel": "nearest", "padding": "fill"}
    for given in (fill, [1, 2, fill], np.array([1, 2, fill]), torch.tensor([1, 2, fill])):
        with pytest.raises(OptionError, match=rf"fill=.* is not a value of an image of {dtype}"):
            stn.sample(IMAGE.to(dtype), GRID, fill=given, **options)
    read = stn.sample(IMAGE.to(dtype), torch.full_like(GRID, 5), fill=7, **options)
    assert read.dtype == dtype
    assert (read == 7).all()


def test_registries_list_what_there_is():
    for make, names in (
        (stn.make_transform, stn.list_transforms()),
        (stn.make_sampler, stn.list_samplers()),
        (lambda name: stn.make_localisation(name, "affine"), stn.list_localisations()),
    ):
        assert names
        with pytest.raises(OptionError, match="unknown .*'nothing'.*" + names[0]):
            make("nothing")
        for name in names:
            make(name)
    with pytest.raises(OptionError, match="unexpected keyword argument 'wings'"):
        stn.make_transform("affine", wings=2)


def test_every_error_is_ours_and_python_knows_it_too():
    with pytest.raises(stn.SpatialTransformerError):
        stn.sample(IMAGE[0], GRID)
    with pytest.raises(ValueError, match="image must be"):
        stn.sample(IMAGE[0], GRID)
    with pytest.raises(KeyError):
        stn.make_transform("nothing")


def test_modules_are_told_when_they_are_made():
    for options, message in (
        ({"padding": "fill"}, "padding='fill' needs fill="),
        ({"fill": 1.0}, "contradicts padding='zeros'"),
        ({"antialias": 99}, "antialias must be True, False or a number"),
        ({"align_corners": None}, "align_corners must be True or False, got None"),
    ):
        with pytest.raises(OptionError, match=message):
            stn.SpatialTransformer("convolutional", **options)
    with pytest.raises(OptionError, match="must be a Transform or a name, got <class"):
        stn.SpatialTransformer("convolutional", stn.Affine)
    with pytest.raises(ShapeError, match=r"'affine' has dims=2, but image is \(1, 1, 4, 4, 4\)"):
        stn.SpatialTransformer("convolutional")(torch.zeros(1, 1, 4, 4, 4))
    with pytest.raises(OptionError, match="must be a Transform or a name, got <class"):
        stn.warp(IMAGE, THETA, stn.Affine)


@pytest.mark.parametrize("layer", [stn.SpatialTransformer, lambda n: stn.Cascade([n, n])])
def test_layers_look_at_the_image_before_their_networks_do(layer):
    layer = layer("fully_connected")
    for image, error, message in (
        (IMAGE.numpy(), DTypeError, "image must be a tensor, got ndarray"),
        (None, DTypeError, "image must be a tensor, got NoneType"),
        (IMAGE[..., :0], ShapeError, "has no pixels"),
        (IMAGE[0], ShapeError, "add a batch dimension"),
    ):
        with pytest.raises(error, match=message):
            layer(image)
    assert torch.equal(layer(IMAGE + 1), IMAGE + 1)  # the empty one has not sized its layers


@pytest.mark.parametrize(
    ("make", "name", "options", "message"),
    [
        (stn.make_transform, "thin_plate_spline", {"dims": "2"}, "dims must be 2 or 3, got '2'"),
        (stn.make_transform, "bspline", {"dims": None}, "dims must be 2 or 3, got None"),
        (stn.make_transform, "affine", {"dims": 2.0}, "works with dims=2 or 3, got dims=2.0"),
        (stn.make_transform, "affine", {"fixed": [1]}, r"fixed must be {name: value}, got \[1\]"),
        (
            stn.make_transform,
            "attention",
            {"fixed": {"s": "a"}},
            "must be a finite number, got 'a'",
        ),
        (stn.make_transform, "rigid", {"fixed": {"tx": math.nan}}, "a finite number, got nan"),
        (stn.make_transform, "bspline", {"bound": math.inf}, "positive and finite, got inf"),
        (stn.make_transform, "log_polar", {"outer": math.inf}, "0 < inner < outer must hold"),
        (stn.make_transform, "log_polar", {"inner": "a"}, "0 < inner < outer must hold"),
        (stn.make_transform, "diffeomorphic", {"steps": 64}, "steps must be 0 to 24 squarings"),
        (stn.make_transform, "linear_basis", {"features": None}, "transform 'linear_basis': "),
        (stn.make_transform, "thin_plate_spline", {"points": "abc"}, "control points must be"),
        (stn.make_sampler, "bicubic", {"a": "x"}, "kernel 'bicubic': "),
        (stn.make_sampler, "bicubic", {"a": math.nan}, "kernel 'bicubic': "),
        (make_localisation, "fully_connected", {"units": 32}, "numbers in a list, got 32"),
        (make_localisation, "fully_connected", {"units": (-3,)}, "units must be positive"),
        (make_localisation, "convolutional", {"filters": 20}, "numbers in a list, got 20"),
        (make_localisation, "convolutional", {"kernel_size": 0}, "kernel_size must be a positive"),
        (make_localisation, "convolutional", {"downsample": 0}, "downsample must be a positive"),
        (make_localisation, "convolutional", {"count": 2.5}, "count must be a positive number"),
        (stn.make_sampler, "bicubic", {"a": math.inf}, "kernel 'bicubic': "),
    ],
)
def test_options_of_what_is_made_by_name(make, name, options, message):
    with pytest.raises(OptionError, match=message):
        make(name, **options)


def test_what_torch_func_and_meta_tensors_cannot_have():
    theta = torch.rand(2, 6)

    def mapped(**options):
        return torch.func.vmap(lambda i, t: stn.warp(i[None], t[None], "affine", **options))

    with pytest.raises(OptionError, match="which vmap and meta tensors do not show: give a number"):
        mapped(antialias=True)(IMAGE, theta)
    with pytest.raises(OptionError, match="which vmap and meta tensors do not show: give a number"):
        stn.warp(IMAGE.to("meta"), theta.to("meta"), "affine", antialias=True)
    assert mapped(antialias=2)(IMAGE, theta).shape == (2, 1, 3, 4, 5)
    with pytest.raises(BackendError, match="'reference' has no torch.func transforms"):
        mapped(backend="reference")(IMAGE, theta)


def test_what_is_no_tensor_and_no_module():
    with pytest.raises(DTypeError, match="flow must be a tensor, got NoneType"):
        grid_from_flow(None)
    with pytest.raises(OptionError, match="model must be a torch.nn.Module, got NoneType"):
        stn.param_groups(None, 0.1)
    with pytest.raises(OptionError, match="align_corners must be True or False, got 'no'"):
        stn.Affine().grid(THETA, (3, 3), "no")
    with pytest.raises(OptionError, match="align_corners must be True or False, got 'no'"):
        stn.Displacement((3, 3), align_corners="no")


def test_options_of_what_is_made_of_transforms():
    with pytest.raises(OptionError, match="compose takes transforms"):
        stn.Compose(stn.Affine())
    with pytest.raises(OptionError, match="bounds must be {parameter"):
        stn.Bounded(stn.Similarity(), [("s", (0.5, 2.0))])


def test_pixels_and_flows_of_another_width():
    with pytest.raises(ShapeError, match=r"pixels must be \(..., 2\) .*got \(1, 4, 4, 3\)"):
        grid_from_pixels(torch.zeros(1, 4, 4, 3), (4, 4))
    for size in ((0, 4), (4.5, 4)):
        with pytest.raises(ShapeError, match="of 2 positive whole numbers"):
            grid_from_pixels(torch.zeros(1, 4, 4, 2), size)
    with pytest.raises(DTypeError, match="pixels must be a tensor, got list"):
        grid_from_pixels([[0.0, 1.0]], (4, 4))
    pixels = torch.rand(1, 4, 4, 2)
    assert torch.equal(grid_from_pixels(pixels, 4), grid_from_pixels(pixels, (4, 4)))
    with pytest.raises(ShapeError, match=r"flow must be \(B, H, W, 2\).*got \(1, 2, 4, 4\)"):
        grid_from_flow(torch.zeros(1, 2, 4, 4))
    assert stn.warp(IMAGE, THETA, "affine", np.int64(3)).shape == (2, 3, 3, 3)
