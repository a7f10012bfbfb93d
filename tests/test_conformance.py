"""Every registered transform and sampler holds every property; the docs' table says which test.

The table is written by ``python -m tests.test_conformance`` and is compared here.
"""

from pathlib import Path

import pytest
from tests.conformance import SAMPLER_CASES, TRANSFORM_CASES, build, dims_of

from spatial_transformer.samplers import list_samplers
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.testing import samplers, transforms
from spatial_transformer.transforms import list_transforms

DOCUMENT = Path(__file__).parent.parent / "docs" / "conformance.md"
#: what a family does not have, and the table shows as a dash
LACKING = {
    "inverse": {
        *("thin_plate_spline", "piecewise_affine", "bspline", "linear_basis", "displacement"),
        *("pixel_affine", "log_polar"),
    },
    "compose": {
        *("thin_plate_spline", "piecewise_affine", "bspline", "linear_basis", "displacement"),
        *("pixel_affine", "log_polar", "diffeomorphic"),
    },
    "identity": {"log_polar"},
}


def slow_sampler(name, dims, prop):
    wide = name.startswith("bspline") and int(name[-1]) >= 2
    return dims == 3 and prop == "gradient" and (wide or name == "lanczos")


def cases():
    for name, dims, padding, prop in SAMPLER_CASES:
        marks = [pytest.mark.slow] if slow_sampler(name, dims, prop) else []
        yield pytest.param(name, dims, padding, prop, marks=marks)


@pytest.mark.parametrize(("name", "dims", "prop"), TRANSFORM_CASES)
def test_transform(name, dims, prop):
    transform = build(name, dims)
    held = transforms.CHECKS[prop](transform) is not False
    if prop == "identity":
        held = transform.has_identity
    assert held == (name not in LACKING.get(prop, ()))


@pytest.mark.parametrize(("name", "dims", "padding", "prop"), list(cases()))
def test_sampler(name, dims, padding, prop):
    if slow_sampler(name, dims, prop) and padding not in ("zeros", "wrap"):
        padding = "zeros" if padding in ("zeros", "fill", "border") else "wrap"
    held = samplers.CHECKS[prop](name, padding, dims)
    assert held is not False


def table():
    """The document: a tick where a test of this file holds it."""
    lines = [
        "# Conformance",
        "",
        "Made from the registries by `python -m tests.test_conformance`; each tick is a test of",
        "[tests/test_conformance.py](../tests/test_conformance.py), named by its row and column:",
        "`test_transform[name-dims-property]`, `test_sampler[name-dims-padding-property]`.",
        "What the properties mean is said in `spatial_transformer.testing`, with which you can run",
        "them against transforms and kernels of your own. A dash: the family does not have it.",
        "",
        "## Transforms",
        "",
    ]
    props = list(transforms.CHECKS)
    lines += ["| transform | dims | " + " | ".join(props) + " |", "|---" * (len(props) + 2) + "|"]
    for name in list_transforms():
        for dims in dims_of(name):
            ticks = ["-" if name in LACKING.get(p, ()) else "✓" for p in props]
            lines.append(f"| {name} | {dims} | " + " | ".join(ticks) + " |")
    props = list(samplers.CHECKS)
    lines += ["", "## Samplers", "", "In 2-D and in 3-D alike.", ""]
    lines += ["| sampler | padding | " + " | ".join(props) + " |", "|---" * (len(props) + 2) + "|"]
    for name in list_samplers():
        for padding in PADDINGS:
            lines.append(f"| {name} | {padding} | " + " | ".join("✓" for _ in props) + " |")
    return "\n".join(lines) + "\n"


def test_the_table_is_this_registrys():
    assert len(TRANSFORM_CASES) >= 200
    assert len(SAMPLER_CASES) >= 700
    assert DOCUMENT.read_text() == table()


if __name__ == "__main__":
    DOCUMENT.write_text(table())
