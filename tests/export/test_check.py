"""Exported modules are checked at other sizes than the traced one: an error names input, axis, size
and reason, for every axis that may have any size."""

import pytest
import torch
from torch import nn

from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.export import export_module
from spatial_transformer.export.check import cases, compare, other_sizes
from spatial_transformer.export.program import export_program

IMAGE = torch.rand(4, 2, 12, 10)
GRID = torch.rand(4, 9, 10, 2)
NAMES = ["image", "grid"]
DYNAMIC = {
    "image": {0: "batch", 1: "channels", 2: "height", 3: "width"},
    "grid": {0: "batch", 1: "output_height", 2: "width"},
}


class Both(nn.Module):
    """All of both inputs, so that no axis is of no consequence."""

    def forward(self, image, grid):
        return 2 * image, grid - 1


@pytest.mark.parametrize("size", [2, 3, 4, 7, 12, 28, 30, 64, 512])
def test_sizes_are_smaller_and_larger_and_divide_otherwise(size):
    for least in (1, 2):
        sizes = other_sizes(size, least)
        assert size not in sizes
        assert min(sizes) < size or size == least
        assert all(least <= n <= 2 * size + 24 for n in sizes)
        larger = [n for n in sizes if n > size]
        for k in (2, 3, 4, 6):
            assert {n % k == 0 for n in larger} == {True, False}


def test_an_axis_of_one_name_is_of_one_size_in_all_inputs():
    found = cases(NAMES, [IMAGE, GRID], DYNAMIC)
    for inputs, _ in found:
        image, grid = inputs
        assert image.shape[0] == grid.shape[0]
        assert image.shape[3] == grid.shape[2]
    for name, tensor in zip(NAMES, (0, 1), strict=True):
        for axis in DYNAMIC[name]:
            traced = found[0].inputs[tensor].shape[axis]
            sizes = {inputs[tensor].shape[axis] for inputs, _ in found}
            assert min(sizes) < traced < max(sizes) or traced == 2
    assert {inputs[0].shape[0] for inputs, _ in found} >= {1, 4}


def test_inputs_of_other_sizes_are_of_the_same_kind():
    labels = torch.randint(0, 7, (2, 5))
    for inputs, _ in cases(["labels"], [labels], {"labels": {0: "batch", 1: "length"}}):
        assert inputs[0].dtype == torch.int64
        assert set(inputs[0].flatten().tolist()) <= set(labels.flatten().tolist())


@pytest.mark.parametrize(
    ("axis", "what"),
    [
        (0, "axis 0 of image and axis 0 of grid (batch) at 1 instead of 4"),
        (1, "axis 1 of image (channels) at 12 instead of 2"),
        (2, "axis 2 of image (height) at 8 instead of 12"),
        (3, "axis 3 of image and axis 2 of grid (width) at 6 instead of 10"),
    ],
)
class TestEveryAxis:
    """What is exported keeps something of the traced size of one axis."""

    def check(self, exported, what, reason, module=None):
        found = cases(NAMES, [IMAGE, GRID], DYNAMIC)
        compare(Both(), lambda given: Both()(*given), found)
        with pytest.raises(ExportError) as error:
            compare(module or Both(), exported, found)
        assert what in str(error.value)
        assert reason in str(error.value)
        assert str(error.value).endswith("nothing was written")

    def test_another_value(self, axis, what):
        def exported(given):
            image, grid = given
            wrong = image.shape[axis] != IMAGE.shape[axis]
            return 2 * image + 1e-3 * wrong, grid - 1

        self.check(exported, what, "Both: exported, it differs by 0.00")

    def test_another_shape(self, axis, what):
        def exported(given):
            image, grid = given
            if image.shape[axis] != IMAGE.shape[axis]:
                image = image.expand(3, *image.shape)
            return 2 * image, grid - 1

        self.check(exported, what, "Both: exported, it gives (3, ")

    def test_it_does_not_run(self, axis, what):
        def exported(given):
            if given[0].shape[axis] != IMAGE.shape[axis]:
                raise RuntimeError("invalid index\n\nand pages more")
            return Both()(*given)

        self.check(exported, what, "Both: exported, it does not run with")
        self.check(exported, what, ": invalid index; nothing")

    def test_the_module_itself_does_not_run(self, axis, what):
        class One(Both):
            def forward(self, image, grid):
                assert image.shape[axis] == IMAGE.shape[axis], "another size"
                return super().forward(image, grid)

        self.check(lambda given: Both()(*given), what, "One itself does not run with", One())


def test_nan_and_inputs_of_the_caller_are_named():
    found = cases(NAMES, [IMAGE, GRID], {}, [[IMAGE[:3], GRID[:2]]])
    assert len(found) == 2
    with pytest.raises(ExportError, match=r"gives other NaN with inputs of \(3, 2, 12, 10\), \(2,"):
        compare(
            Both(), lambda g: (2 * g[0] + (0 if len(g[0]) == 4 else torch.nan), g[1] - 1), found
        )


class Scaled(nn.Module):
    def forward(self, image):
        return 2 * image


def test_dynamic_names_inputs_and_their_axes():
    image = torch.rand(2, 1, 8, 8)
    with pytest.raises(OptionError, match="dynamic names images, but the inputs are image"):
        export_program(Scaled(), [image], dynamic={"images": {0: "batch"}})
    for axis in (4, -1):
        with pytest.raises(OptionError, match=rf"example image \(2, 1, 8, 8\) has no axis {axis}"):
            export_program(Scaled(), [image], dynamic={"image": {axis: "width"}})


class Pooled(nn.Module):
    """torch's exporter to ONNX works out for one size which pixels are pooled."""

    def forward(self, image):
        return nn.functional.adaptive_avg_pool2d(image, 4)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [{2: "height"}, {3: "width"}, {2: "height", 3: "width"}])
@pytest.mark.parametrize("size", [28, 30])
def test_adaptive_pooling_of_another_size_is_not_written_as_onnx(axes, size, tmp_path, capfd):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file = tmp_path / "pooled.onnx"
    dynamic = {"image": {0: "batch", **axes}}
    axis, name = next(iter(axes.items()))
    smaller = 2 * size // 3
    with pytest.raises(
        ExportError,
        match=rf"^Pooled: exported, it .*axis {axis} of image \({name}\) at {smaller} instead of "
        rf"{size}.*; nothing was written$",
    ):
        export_module(Pooled(), file, [torch.rand(2, 1, size, size)], dynamic=dynamic)
    assert not list(tmp_path.iterdir())
    # the exporter's and the run time's own talk is not passed on
    assert capfd.readouterr() == ("", "")
    assert export_module(Pooled(), file, [torch.rand(2, 1, size, size)]) <= 1e-5
    # which a .pt2 file does at any size
    other = tmp_path / "pooled.pt2"
    export_module(Pooled(), other, [torch.rand(2, 1, size, size)], dynamic=dynamic)
    image = torch.rand(5, 1, size, size).repeat(*(2 if k in axes else 1 for k in range(4)))
    torch.testing.assert_close(torch.export.load(other).module()(image), Pooled()(image))


@pytest.mark.slow
@pytest.mark.parametrize("axis", range(4))
def test_a_program_that_keeps_a_size_is_not_written(axis, tmp_path, monkeypatch):
    from spatial_transformer.export import Warp, export_warp, program

    right = program.decompositions

    def keep(grid_sample):
        table = right(grid_sample)
        operator = torch.ops.stn.warp_matrix.default
        warp = table[operator]

        def wrong(image, *rest):
            # the size becomes a number in the graph, without a word
            return warp(image, *rest) * (image.shape[axis] / int(image.shape[axis]))

        return table | {operator: wrong}

    monkeypatch.setattr(program, "decompositions", keep)
    name = ("batch", "channels", "height", "width")[axis]
    for file in ("warp.pt2", "warp.onnx"):
        with pytest.raises(ExportError, match=rf"axis {axis} of image.* \({name}\) at \d+ instead"):
            export_warp(Warp("affine", 7), tmp_path / file)
    assert not list(tmp_path.iterdir())
