"""Without torch's private names the results are the same."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import spatial_transformer as stn
from spatial_transformer.ops import torch_internals

SOURCE = Path(stn.__file__).parent

#: what the others' results are compared with
SCRIPT = """
import importlib.util, sys
import torch

folder, *names = sys.argv[1:]
if names:
    path = folder + "/ops/torch_internals.py"
    source = open(path).read()
    for name in names:
        assert f'_find("{name}")' in source, name
        source = source.replace(f'_find("{name}")', f'_find("{name}__gone")')
    spec = importlib.util.spec_from_loader("spatial_transformer.ops.torch_internals", None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    exec(compile(source, path, "exec"), module.__dict__)
import spatial_transformer as stn
from spatial_transformer.ops import torch_internals

assert torch_internals.MISSING == [f"torch.{name}__gone" for name in names], torch_internals.MISSING
torch.manual_seed(0)
image = torch.rand(2, 3, 9, 8, requires_grad=True)
theta = (torch.tensor([[1.0, 0, 0, 0, 1, 0]]) + 0.2 * torch.randn(2, 6)).requires_grad_()
weight = torch.randn(2, 3, 9, 8)
results = []
for _ in range(2):
    out = stn.warp(image, theta, "affine")
    results += [out, *torch.autograd.grad(out, (image, theta), weight)]
grid = stn.Affine().grid(theta, (9, 8))
out = stn.sample(image, grid, padding="border")
results += [out, *torch.autograd.grad(out, (image, theta), weight)]
energy = stn.warp(image, theta, "affine").square().sum()
once = torch.autograd.grad(energy, theta, create_graph=True)
results.append(torch.autograd.grad(once[0].sum(), theta)[0])
results.append(torch.func.vmap(lambda t: stn.warp(image, t[None], "affine")[0])(theta))
results.append(torch.func.jvp(lambda t: stn.warp(image, t, "affine"), (theta,), (theta,))[1])
control = stn.make_transform("thin_plate_spline")
moves = 0.1 * torch.randn(2, control.num_params)
inputs = image.detach(), moves
traced = torch.jit.trace(lambda i, t: stn.warp(i, t, control), inputs, check_trace=False)
results.append(traced(image.detach(), moves))
with torch.profiler.profile() as profile:
    results.append(stn.warp(image.detach(), theta.detach(), "affine"))
# without the first of them, all is done by plain operations
fused = "_C._functorch.peek_interpreter_stack" not in names
assert not fused or any(event.name == "stn::warp_matrix" for event in profile.events())
for result in results:
    print([round(x, 4) for x in result.detach().double().flatten().tolist()])
"""


def run(*names):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(SOURCE), *names],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [eval(line) for line in done.stdout.splitlines()]


NAMES = re.findall(r'_find\("(.*?)"\)', (SOURCE / "ops" / "torch_internals.py").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [NAMES, ["_C._dispatch_keys"], ["_C._AutoDispatchBelowAutograd"]],
    ids=["all", "keys", "below autograd"],
)
def test_without_them_results_are_the_same(names):
    wanted = run()
    found = run(*names)
    assert len(found) == len(wanted) > 10
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, abs=2e-3)


def test_this_torch_has_all_of_them():
    assert torch_internals.MISSING == []


def test_the_compilers_mark_is_the_public_functions():
    marked = torch.compiler.assume_constant_result(lambda: 1)
    ours = torch_internals.constant_result(lambda: 1)
    assert vars(marked) == vars(ours)
