"""Layers that hide their gradient are named; those that cannot be run alone are passed over."""

import pytest
import torch
from torch import nn

from narrows.audit.blocking import blocking_modules
from narrows.audit.planted import JPEGLike
from scenarios_audit import undefended


class Rounding(nn.Module):
    def forward(self, x):
        return (8 * x).round() / 8


class Cast(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.layers(x)


class Counted(nn.Module):
    """A layer that may be run once a pass."""

    def __init__(self, error):
        super().__init__()
        self.error, self.inside = error, False

    def forward(self, x):
        if not self.inside:
            raise self.error
        return x.round()


class Outer(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.layer = Counted(error)

    def forward(self, x):
        self.layer.inside = True
        y = self.layer(x)
        self.layer.inside = False
        return y


def test_layers_that_hide_their_gradient_are_named():
    model, x, _ = undefended()
    assert blocking_modules(JPEGLike(model), x[:4]) == ["compress"]
    assert blocking_modules(model, x[:4]) == []
    assert blocking_modules(nn.Sequential(Rounding(), model), x[:4]) == ["0"]


@pytest.mark.parametrize(
    "error", [RuntimeError("alone"), ValueError("alone"), KeyError("neighbour"), SystemExit(1)]
)
def test_layers_that_cannot_be_run_alone_hide_nothing(error):
    assert blocking_modules(Outer(error), torch.rand(2, 6)) == []


def test_layers_of_another_precision_hide_nothing():
    assert blocking_modules(Cast(), torch.rand(2, 6)) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_in_half_precision_do_not_overflow(dtype):
    layers = nn.Sequential(nn.ReLU(), nn.Flatten())
    assert blocking_modules(layers, torch.rand(8, 3, 200, 200).to(dtype)) == []


def test_a_model_without_layers_or_one_that_fails_has_none():
    class Bare(nn.Module):
        def forward(self, x):
            return x.flatten(1)

    assert blocking_modules(Bare(), torch.rand(2, 1, 2, 2)) == []
    assert blocking_modules(nn.Sequential(nn.BatchNorm1d(4)).train(), torch.rand(1, 4)) == []


class Step(nn.Module):
    """Rounds to multiples of a width."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        return (x / self.width).round() * self.width


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_steps_are_looked_for_at_the_scale_of_what_a_layer_is_given(scale):
    x = scale * torch.arange(1, 17).view(1, 1, 4, 4) / 16
    assert blocking_modules(nn.Sequential(Step(scale / 64), nn.Flatten()), x) == ["0"]


class Far(nn.Module):
    def forward(self, x):
        return 1 - (8 * x).round() / 8


class Noisy(nn.Module):
    def forward(self, x):
        return ((8 * x).round() + 0.1 * torch.rand_like(x)) / 8


@pytest.mark.parametrize("layer", [Far, Noisy])
def test_layers_that_change_the_image_or_draw_noise_are_not_passed_by(layer):
    x = undefended()[1][:4]
    with torch.random.fork_rng([]):
        assert blocking_modules(nn.Sequential(layer(), nn.Flatten()), x) == []


def test_of_layers_inside_each_other_the_outermost_is_named():
    nested = nn.Sequential(nn.Sequential(Rounding()), nn.Flatten())
    assert blocking_modules(nested, undefended()[1][:4]) == ["0"]
