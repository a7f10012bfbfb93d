"""The cascade composes and samples once; the monitor tells of a collapse."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import OptionError, ShapeError, TransformError
from spatial_transformer.modules.cascade import Cascade
from spatial_transformer.modules.monitor import CollapseMonitor, CollapseWarning


class Told(nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, image):
        return self.theta.expand(len(image), -1)


class TestCascade:
    thetas = (torch.tensor([0.3, 0.9, 0.1, 0.0]), torch.tensor([-0.1, 1.1, 0.0, 0.2]))

    def test_is_one_warp_by_the_composition(self):
        layer = Cascade([Told(t) for t in self.thetas], "similarity", (7, 8))
        image = torch.rand(2, 1, 9, 9)
        warped, theta = layer(image, return_theta=True)
        t = stn.Similarity()
        both = t.compose(*(x.expand(2, 4) for x in self.thetas))
        torch.testing.assert_close(theta, both)
        torch.testing.assert_close(warped, stn.warp(image, both, t, (7, 8)))
        assert len(list(stn.localisation_parameters(layer))) == 2

    def test_stages_may_be_a_module_list(self):
        stages = nn.ModuleList([Told(t) for t in self.thetas])
        image = torch.rand(2, 1, 9, 9)
        assert torch.equal(
            Cascade(stages, "similarity")(image), Cascade(list(stages), "similarity")(image)
        )

    def test_steps_share_one_stage(self):
        layer = Cascade([Told(torch.tensor([0.1, 1.0, 0.0, 0.0]))], "similarity", steps=4)
        _, theta = layer(torch.rand(1, 1, 9, 9), return_theta=True)
        assert theta[0, 0].item() == pytest.approx(0.4)

    def test_resampled_it_is_layers_one_after_the_other(self):
        t, image = stn.Similarity(), torch.rand(2, 1, 9, 9)
        last = torch.tensor([0.0, 0.8, -0.3, 0.1])
        learned = nn.Sequential(nn.Flatten(), nn.Linear(81, 4))
        stages = [learned, Told(self.thetas[0]), Told(last)]
        options = {"kernel": "bicubic", "padding": "border"}
        layer = Cascade(stages, t, (7, 8), resample=True, **options)
        sizes = (None, None, (7, 8))
        layers = [
            stn.SpatialTransformer(s, t, n, **options) for s, n in zip(stages, sizes, strict=True)
        ]
        warped, theta = layer(image, return_theta=True)
        assert torch.equal(warped, nn.Sequential(*layers)(image))
        matrices = [
            t.matrix(x.detach()).double().numpy()
            for x in (learned(image), self.thetas[0][None], last[None])
        ]
        square = [
            np.concatenate([m, np.broadcast_to([0, 0, 1], (len(m), 1, 3))], 1) for m in matrices
        ]
        wanted = (square[0] @ square[1] @ square[2])[:, :2]
        np.testing.assert_allclose(t.matrix(theta).detach().numpy(), wanted, atol=1e-5)
        torch.testing.assert_close(layer.thetas(image)[-1], theta)

    def test_what_is_moved_out_of_view_comes_back_unless_it_is_resampled(self):
        stages = [Told(torch.tensor([1.5, 0.0])), Told(torch.tensor([-1.5, 0.0]))]
        image = torch.rand(2, 1, 8, 8)
        torch.testing.assert_close(Cascade(stages, "translation")(image), image)
        lost = Cascade(stages, "translation", resample=True)(image)
        assert not lost[..., :6].any()
        torch.testing.assert_close(lost[..., 6:], image[..., 6:])

    def test_each_stage_sees_the_warped_image_and_learns(self):
        stages = ["fully_connected", "fully_connected"]
        layer = Cascade(stages, "affine", padding="border")
        layer(torch.rand(2, 1, 9, 9))
        for p in layer.parameters():
            nn.init.normal_(p, std=0.1)
        layer(torch.rand(2, 1, 9, 9)).square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in layer.parameters() if p.dim() > 1)

    def test_bounded_families_stay_within_their_bounds(self):
        t = stn.Bounded(stn.Similarity(), {"s": (0.5, 2.0)})
        stage = Told(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        layer = Cascade([stage], t, steps=4)
        image = torch.rand(2, 1, 9, 9)
        warped, theta = layer(image, return_theta=True)
        assert t.values(theta)[:, 1].tolist() == pytest.approx([2.0, 2.0])
        torch.testing.assert_close(warped, stn.warp(image, theta, t))
        warped.sum().backward()
        assert torch.isfinite(stage.theta.grad).all()

    def test_bad_options(self):
        for stages, steps in (("fully_connected", 1), (3, 1), ([nn.Identity()], 2.5), ([], 2)):
            with pytest.raises(OptionError, match="one or more stages"):
                Cascade(stages, "affine", steps=steps)
        with pytest.raises(OptionError, match="resample must be True or False, got 1"):
            Cascade(["fully_connected"], "affine", resample=1)
        with pytest.raises(TransformError, match="no composition within its family"):
            Cascade(["fully_connected"], "thin_plate_spline", steps=2)
        Cascade(["fully_connected"], "thin_plate_spline")(torch.rand(1, 1, 9, 9))
        other = stn.make_localisation("fully_connected", "attention")
        with pytest.raises(ShapeError, match="predicts 3 parameters, but .* takes 6"):
            Cascade(["fully_connected", other], "affine")


class TestMonitor:
    def test_a_cascade_on_its_bounds_is_watched_as_it_runs(self):
        bounded = stn.Bounded(stn.Similarity(), {"s": (0.5, 2.0)})
        layer = Cascade([Told(torch.tensor([0.0, 5.0, 0.0, 0.0]))] * 2, bounded)
        image = torch.rand(2, 1, 8, 8)
        wanted = layer(image)
        with CollapseMonitor(layer) as monitor, pytest.warns(CollapseWarning, match="75%"):
            assert torch.equal(layer(image), wanted)
        assert monitor.outside[""] == 0.75

    def test_warns_once_when_most_is_outside(self):
        good = stn.SpatialTransformer(Told(stn.Affine().identity()))
        bad = stn.SpatialTransformer(Told(torch.tensor([3.0, 0, 0, 0, 3, 0])))
        model = nn.Sequential(good, bad)
        with CollapseMonitor(model, threshold=0.5) as monitor:
            with pytest.warns(CollapseWarning, match="transformer '1': 94%"):
                model(torch.rand(2, 1, 8, 8))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                model(torch.rand(2, 1, 8, 8))
        assert monitor.outside["0"] == 0
        assert monitor.outside["1"] > 0.8
        model(torch.rand(2, 1, 8, 8))
        assert not good.localisation._forward_hooks

    def test_of_a_compiled_model_leaves_its_graphs_alone(self):
        torch.manual_seed(0)
        layer = stn.SpatialTransformer("fully_connected", "affine")
        image = torch.rand(2, 1, 8, 8)
        layer(image)
        with torch.no_grad():
            layer.localisation.head.bias[2] = 0.5
        with CollapseMonitor(layer) as monitor:
            layer(image)
            wanted = dict(monitor.outside)
            torch.compiler.reset()
            network = torch.compile(layer, backend="eager")
            network(image)
            with torch._dynamo.config.patch(error_on_recompile=True):
                for _ in range(3):
                    network(image)
        assert wanted[""] > 0
        assert monitor.outside == wanted
        assert monitor._calls[""] == 5

    def test_warns_once_of_a_localisation_network_that_has_died(self):
        torch.manual_seed(0)
        alive = stn.SpatialTransformer("fully_connected", "affine")
        dead = stn.SpatialTransformer("fully_connected", "affine")
        fresh = stn.SpatialTransformer("fully_connected", "affine")
        images = torch.rand(4, 1, 8, 8)
        for layer in (alive, dead):
            layer(images)
            with torch.no_grad():
                layer.localisation.head.weight.normal_(std=0.01)
        with torch.no_grad():
            # as one step that is too long leaves it: no rectifier gives anything any more
            dead.localisation.body[-2].bias.fill_(-100)
            dead.localisation.head.bias.add_(0.1)
        model = nn.ModuleDict({"alive": alive, "dead": dead, "fresh": fresh})
        with CollapseMonitor(model, every=2), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(39):
                for layer in model.values():
                    layer(images)
            assert not told
            for _ in range(40):
                for layer in model.values():
                    layer(images)
        (one,) = told
        assert issubclass(one.category, CollapseWarning)
        assert "transformer 'dead': it predicts the same theta for every image" in str(one.message)

    def test_of_a_cascade_it_sees_what_the_stages_make_together(self):
        stages = [Told(torch.tensor([1.0, 0, 0.7, 0, 1, 0])) for _ in range(3)]
        layer = Cascade(stages, "affine")
        with CollapseMonitor(layer) as monitor:
            with pytest.warns(CollapseWarning, match="100%"):
                warped = layer(torch.rand(4, 1, 16, 16))
            assert monitor.outside == {"": 1.0}
        assert not warped.any()
        with CollapseMonitor(Cascade(stages[:1], "affine")) as monitor:
            next(iter(monitor._layers.values()))(torch.rand(4, 1, 16, 16))
            assert 0.3 < monitor.outside[""] < 0.4

    def test_a_copy_is_not_watched_once_it_is_closed(self):
        model = nn.Sequential(stn.SpatialTransformer(Told(torch.tensor([3.0, 0, 0, 0, 3, 0]))))
        with CollapseMonitor(model, threshold=1) as monitor:
            copied = copy.deepcopy(model)
        copied(torch.rand(2, 1, 8, 8))
        assert monitor.outside == {}

    def test_needs_a_transformer(self):
        with pytest.raises(OptionError, match="no spatial transformer to watch"):
            CollapseMonitor(nn.Linear(1, 1))

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_theta_that_is_not_finite_is_told_at_once(self, value):
        theta = stn.Affine().identity().repeat(4, 1)
        theta[2, 5] = value
        layer, images = stn.SpatialTransformer(Told(theta)), torch.rand(4, 1, 8, 8)
        # one pixel in a hundred steps is no collapse by what lies outside
        with CollapseMonitor(layer, threshold=1, smoothing=0.01) as monitor:
            with pytest.warns(CollapseWarning, match="NaN or infinite for 1 of 4 images.*is dead"):
                layer(images)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                layer(images)
        assert monitor.outside == {"": pytest.approx(0.25)}

    def test_a_localisation_network_of_nan_is_dead(self):
        layer = stn.SpatialTransformer("fully_connected", "attention")
        images = torch.rand(1, 1, 8, 8)
        layer(images)
        with torch.no_grad():
            layer.localisation.body[1].weight[0, 0] = math.nan
            layer.localisation.head.weight.fill_(1.0)
        with (
            CollapseMonitor(nn.Sequential(layer), threshold=1),
            pytest.warns(CollapseWarning, match="transformer '0': its theta is .* 1 of 1 images"),
        ):
            layer(images)

    def test_its_numbers(self):
        layer = stn.SpatialTransformer("fully_connected", "affine")
        for name, values in {
            "threshold": (-0.1, 1.1, math.nan, "x", True),
            "smoothing": (0, 1.5, math.nan, None),
            "every": (0, 1.5, True, math.nan),
        }.items():
            for value in values:
                with pytest.raises(OptionError, match=f"^{name} must be"):
                    CollapseMonitor(layer, **{name: value})
