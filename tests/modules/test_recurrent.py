"""Glimpses one after the other: a loop by hand, any cell, with and without feedback."""

import copy
import pickle

import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.localisation.recurrent import RecurrentLocalisation
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.monitor import CollapseWarning
from spatial_transformer.modules.predict import predict
from spatial_transformer.viz.stages import find_stages


class Own(nn.Module):
    """A cell of one's own: (input, state) -> (output, state), a state that is no tensor."""

    def __init__(self, inputs, units):
        super().__init__()
        self.linear = nn.Linear(inputs + units, units)
        self.units = units

    def forward(self, joint, state):
        before = joint.new_zeros(len(joint), self.units) if state is None else state["h"]
        after = torch.tanh(self.linear(torch.cat([joint, before], 1)))
        return 2 * after, {"h": after}


CELLS = {"gru": nn.GRUCell, "rnn": nn.RNNCell, "lstm": nn.LSTMCell, "own": Own}


def make(cell="gru", feedback=False, steps=3, size=(4, 5), transform="affine", **options):
    """A layer for images of 2x8x9 whose thetas are away from the identity."""
    features = nn.Sequential(nn.AvgPool2d(3, 2), nn.Flatten(), nn.Linear(24, 7), nn.Tanh())
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Tanh()) if feedback else None
    layer = stn.Recurrent(
        *(features, CELLS[cell](7 + 8 * feedback, 6), transform, size),
        **{"steps": steps, "encoder": encoder, "in_shape": (2, 8, 9), **options},
    )
    nn.init.normal_(layer.localisation.head.weight, std=0.2)
    return layer


def by_hand(layer, image, cell):
    """The same, step by step, with torch's own sampler."""
    net = layer.localisation
    features = net.features(image).flatten(1)

    def look(theta):
        size = (len(image), image.shape[1], *layer.size)
        grid = nn.functional.affine_grid(theta.view(-1, 2, 3), size, align_corners=False)
        return nn.functional.grid_sample(image, grid, align_corners=False)

    whole = torch.tensor([1.0, 0, 0, 0, 1, 0]).to(image).expand(len(image), 6)
    state, view, views, thetas = None, look(whole), [], []
    for _ in range(net.steps):
        joint = features
        if net.encoder is not None:
            joint = torch.cat([features, net.encoder(view).flatten(1)], 1)
        if cell in ("gru", "rnn"):
            output = state = net.cell(joint, state)
        elif cell == "lstm":
            state = net.cell(joint, state)
            output, _ = state
        else:
            output, state = net.cell(joint, state)
        thetas.append(output @ net.head.weight.T + net.head.bias)
        view = look(thetas[-1])
        views.append(view)
    return torch.stack(views, 1), torch.stack(thetas, 1)


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_is_the_loop_by_hand(cell, feedback):
    layer = make(cell, feedback).double()
    image = torch.rand(3, 2, 8, 9, dtype=torch.double)
    glimpses, theta = layer(image, return_theta=True)
    assert glimpses.shape == (3, 3, 2, 4, 5)
    assert theta.shape == (3, 3, 6)
    views, thetas = by_hand(layer, image, cell)
    torch.testing.assert_close(theta, thetas, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(glimpses, views, rtol=1e-10, atol=1e-10)
    assert not torch.equal(theta[:, 0], theta[:, 1])
    assert torch.equal(layer(image), glimpses)


def test_feedback_changes_what_comes_next():
    layer = make(feedback=True)
    image = torch.rand(2, 2, 8, 9)
    _, before = layer(image, return_theta=True)
    with torch.no_grad():
        layer.localisation.cell.weight_ih[:, 7:] = 0  # deaf to glimpses
    _, after = layer(image, return_theta=True)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell, feedback):
    layer = make(cell, feedback, steps=2, size=(3, 4)).double()
    image = torch.rand(2, 2, 8, 9, dtype=torch.double, requires_grad=True)
    parameters = dict(layer.named_parameters())
    names = ["localisation.head.weight", next(n for n in parameters if ".cell." in n)]

    def call(image, *values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, given, (image,), {"return_theta": True})

    values = [parameters[n].detach().clone().requires_grad_() for n in names]
    assert torch.autograd.gradcheck(call, (image, *values), fast_mode=True)
    layer(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_any_batch_any_number_of_steps(cell, feedback, steps, batch):
    layer = make(cell, feedback, steps)
    glimpses, theta = layer(torch.rand(batch, 2, 8, 9), return_theta=True)
    assert glimpses.shape == (batch, steps, 2, 4, 5)
    assert theta.shape == (batch, steps, 6)
    glimpses.sum().backward()


@pytest.mark.parametrize("feedback", [False, True])
def test_starts_with_the_whole_image_again_and_again(feedback):
    for transform in ("affine", "thin_plate_spline", "projective"):
        encoder = nn.Flatten() if feedback else None
        layer = stn.Recurrent(
            nn.Flatten(), nn.GRUCell(81 + 81 * feedback, 5), transform, steps=3, encoder=encoder
        )
        image = torch.rand(2, 1, 9, 9)
        assert torch.equal(layer(image), image[:, None].expand(2, 3, 1, 9, 9))


def test_options_are_the_layers():
    layer = make(padding="fill", fill=0.5, kernel="nearest", return_theta=True)
    image = torch.rand(2, 2, 8, 9)
    glimpses, theta = layer(image)
    expected = stn.warp(image, theta, "affine", (4, 5), padding="fill", fill=0.5, kernel="nearest")
    assert torch.equal(glimpses, expected)
    assert isinstance(layer(image, return_theta=False), torch.Tensor)


def test_in_three_dimensions():
    layer = stn.Recurrent(
        nn.Flatten(), nn.GRUCell(64 + 8, 5), stn.Affine(3), 2, steps=3, encoder=nn.Flatten()
    )
    assert layer(torch.rand(2, 1, 4, 4, 4)).shape == (2, 3, 1, 2, 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_compiles_to_one_graph(cell, feedback):
    layer = make(cell, feedback)
    image = torch.rand(2, 2, 8, 9)
    expected = layer(image, return_theta=True)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for actual, value in zip(compiled(image, return_theta=True), expected, strict=True):
        torch.testing.assert_close(actual, value)


def test_copies_pickles_and_states():
    image = torch.rand(2, 2, 8, 9)
    layer = make(feedback=True)
    expected = layer(image)
    assert torch.equal(copy.deepcopy(layer)(image), expected)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(image), expected)
    other = make(feedback=True)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(image), expected)


def test_it_is_found_wherever_a_transformer_is():
    layer = make(feedback=True)
    head = nn.Sequential(nn.Flatten(2), nn.Linear(40, 10))
    model = Transformed(layer, head)
    own = list(stn.localisation_parameters(model))
    assert {id(p) for p in own} == {id(p) for p in layer.localisation.parameters()}
    network, localisation = stn.param_groups(model, 0.1, 0.5)
    assert len(network["params"]) == 2
    assert localisation["lr"] == 0.05
    prediction = predict(model, torch.rand(4, 2, 8, 9))
    assert prediction.scores.shape == (4, 3, 10)
    assert prediction.warped.shape == (4, 3, 2, 4, 5)
    assert prediction.theta.shape == (4, 3, 6)
    with pytest.raises(OptionError, match="a Recurrent transformer has no stages"):
        find_stages(model, torch.rand(4, 2, 8, 9))
    # thetas that look past the image
    with torch.no_grad():
        layer.localisation.head.bias[2] = 9.0
    with stn.CollapseMonitor(model) as monitor, pytest.warns(CollapseWarning, match="lies outside"):
        model(torch.rand(4, 2, 8, 9))
    assert monitor.outside["transformer"] > 0.9


def test_on_the_meta_device():
    with torch.device("meta"):
        layer = make(feedback=True)
    assert layer.localisation.head.in_features == 6


def test_theta_is_float32_under_autocast():
    layer = make()
    with torch.autocast("cpu", torch.bfloat16):
        _, theta = layer(torch.rand(2, 2, 8, 9), return_theta=True)
    assert theta.dtype == torch.float32


def test_what_does_not_fit_is_named():
    cell, image = nn.GRUCell(64, 5), torch.rand(2, 1, 8, 8)
    for steps in (0, 1.5, True, None):
        with pytest.raises(OptionError, match="steps must be a positive whole number"):
            stn.Recurrent(nn.Flatten(), cell, steps=steps)
    for name, parts in {
        "features": (None, cell, None),
        "cell": (nn.Flatten(), "gru", None),
        "encoder": (nn.Flatten(), cell, len),
    }.items():
        with pytest.raises(OptionError, match=f"^{name} must be a module, got "):
            stn.Recurrent(*parts[:2], steps=2, encoder=parts[2])
    with pytest.raises(ShapeError, match="the cell takes 63 numbers, the features give 64$"):
        stn.Recurrent(nn.Flatten(), nn.GRUCell(63, 5), steps=2)(image)
    with pytest.raises(ShapeError, match="give 128, those of the glimpse included"):
        stn.Recurrent(nn.Flatten(), cell, steps=2, encoder=nn.Flatten())(image)

    class Wide(nn.Module):
        def forward(self, joint, state):
            return joint[None]

    with pytest.raises(ShapeError, match=r"output must be \(B, H\), got \(1, 2, 64\)"):
        stn.Recurrent(nn.Flatten(), Wide(), steps=2)(image)
    net = RecurrentLocalisation(nn.Flatten(), cell, "affine", 2, nn.Flatten())
    with pytest.raises(OptionError, match="looks at its glimpses: call its layer"):
        net(image)
