"""With torch and numpy alone: the library, README's lines, every backend; and who says what is
missing."""

import re
from pathlib import Path

import pytest
from tests.environment import make_environment, needed, run

import spatial_transformer as stn

ROOT = Path(__file__).parents[1]
SOURCE = Path(stn.__file__).parents[1]

EVERYTHING = """
import sys
import torch
import spatial_transformer as stn

foreign = {"typer", "rich", "matplotlib", "PIL", "safetensors", "lightning_fabric", "scipy"}
for name in foreign:
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} is there")
image = {2: torch.rand(2, 3, 8, 9), 3: torch.rand(2, 3, 5, 6, 7)}
for name in stn.list_transforms():
    transform = stn.make_transform(name)
    theta = transform.identity().repeat(2, 1).requires_grad_()
    for kernel in stn.list_samplers():
        for backend in ("auto", "eager"):
            stn.warp(image[2], theta, transform, kernel=kernel, backend=backend).sum().backward()
theta = stn.Affine(3).identity().repeat(2, 1)
for kernel in ("nearest", "bilinear"):
    for backend in ("cpu", "eager", "reference"):
        stn.warp(image[3], theta, stn.Affine(3), kernel=kernel, padding="border", backend=backend)
grid = stn.Affine().grid(stn.Affine().identity().repeat(2, 1), (4, 4))
for kernel in ("nearest", "bilinear", "bicubic"):
    for backend in ("cpu", "eager") if kernel == "bicubic" else ("cpu", "eager", "reference"):
        stn.sample(image[2], grid, kernel=kernel, backend=backend)
for name in stn.list_localisations():
    layer = stn.SpatialTransformer(name, "affine", 8)
    layer(torch.rand(2, 1, 28, 28)).sum().backward()
from spatial_transformer.testing import check_transform
check_transform(stn.Affine())
print("done", len(stn.list_transforms()))
"""

MISSING = {
    "viz": "import spatial_transformer as stn; stn.viz",
    "pretrained": "import spatial_transformer as stn; stn.load_pretrained('cnn_r')",
    "experiments": "import spatial_transformer.experiments.runner.run",
    "export": (
        "import spatial_transformer as stn, torch; from spatial_transformer.export import "
        "export_onnx; export_onnx(stn.SpatialTransformer('fully_connected', 'affine'), 'x.onnx', "
        "(torch.zeros(1, 1, 8, 8),))"
    ),
    "demo": "from spatial_transformer.demo.server import build_app; build_app(None, None)",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    found = needed(["torch", "numpy"])
    assert {"torch", "numpy", "sympy"} <= set(found)
    assert not {"rich", "pillow", "scipy"} & set(found)
    return make_environment(tmp_path_factory.mktemp("base"), "torch", "numpy")


@pytest.mark.slow
def test_the_library_and_every_kernel(python):
    assert run(python, EVERYTHING, PYTHONPATH=str(SOURCE)).split() == [
        "done",
        str(len(stn.list_transforms())),
    ]


@pytest.mark.slow
def test_readmes_lines(python):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    own = [block for block in blocks if "load_pretrained" not in block]
    assert len(own) == 2
    run(python, "\n".join(own), PYTHONPATH=str(SOURCE))


@pytest.mark.slow
@pytest.mark.parametrize("extra", MISSING)
def test_what_lacks_an_extra_says_which(python, extra):
    code = (
        "import sys\nfrom spatial_transformer.errors import OptionError\n"
        "try:\n    exec(sys.argv[1])\nexcept OptionError as error:\n    print(error)"
    )
    said = run(python, code, MISSING[extra], PYTHONPATH=str(SOURCE))
    assert said.count("\n") == 1
    assert re.search(rf'is not installed .*pip install "\.\[{extra}\]"', said)


@pytest.mark.slow
def test_the_command_says_so_too(python):
    code = (
        "import sys\nfrom spatial_transformer.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end)"
    )
    said = run(python, code, PYTHONPATH=str(SOURCE))
    assert re.search(
        r'^error: typer is not installed .*"\.\[cli\]" in a clone of the repository$', said.strip()
    )
