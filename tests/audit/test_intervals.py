"""Intervals: every rule holds what it claims to hold, and what is unknown is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.audit._intervals import UnboundedError, interval_logits


class Rule(nn.Module):
    """A function of images `[n, 2, 4, 4]`, and rows of it as logits."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.BatchNorm2d(2)
        self.linear = nn.Linear(16, 3)
        self.norm.weight.data[0] = -2.0

    def forward(self, x):
        return self.rule(self, x).flatten(1)


def changed(hidden, x):
    """In place, and the tensor is used again afterwards."""
    hidden.mul_(-2).sub_(0.1)
    hidden += x
    return hidden + 0 * x


RULES = {
    "conv": lambda model, x: model.conv(x),
    "batch norm": lambda model, x: model.norm(x),
    "linear on rows": lambda model, x: model.linear(x.flatten(2)),
    "no bias": lambda model, x: F.linear(x.flatten(2), model.linear.weight),
    "affine": lambda model, x: (x - 0.3) / -0.5 + 1,
    "scaled by a tensor": lambda model, x: x * torch.tensor([-1.0, 2.0]).view(2, 1, 1),
    "residual": lambda model, x: x + model.conv(x),
    "difference": lambda model, x: x - model.conv(x),
    "mean": lambda model, x: x.mean((2, 3)),
    "pools": lambda model, x: F.max_pool2d(F.avg_pool2d(x, 2), 2),
    "relu": lambda model, x: torch.relu(model.conv(x)),
    "monotone": lambda model, x: F.leaky_relu(torch.tanh(model.conv(x)), 0.1).clamp(-0.2, 0.3),
    "rows and columns": lambda model, x: x.permute(0, 2, 3, 1)[:, 1:].reshape(len(x), -1),
    "changed in place": lambda model, x: changed(model.conv(x), x),
    "dropout that is off": lambda model, x: F.dropout(x, 0.5, training=False),
}


@pytest.mark.parametrize("name", RULES)
def test_every_point_of_the_box_is_inside(name):
    model, generator = Rule(RULES[name]).eval(), torch.Generator().manual_seed(1)
    x = torch.rand(5, 2, 4, 4, generator=generator)
    with torch.no_grad():
        bounds, layers, _ = interval_logits(model, x - 0.2, x + 0.2)
        assert bounds.low.shape == model(x).shape
        lowest, highest = torch.full_like(bounds.low, 9e9), torch.full_like(bounds.low, -9e9)
        for number in range(300):
            unit = 2 * torch.rand(x.shape, generator=generator) - 1
            inside = model(x + 0.2 * (unit.sign() if number % 2 else unit))
            lowest, highest = torch.minimum(lowest, inside), torch.maximum(highest, inside)
    assert (lowest >= bounds.low - 1e-5).all()
    assert (highest <= bounds.high + 1e-5).all()
    assert (bounds.high - bounds.low).sum() < 12 * (highest - lowest).sum()  # and not far outside
    assert bool(layers) is (name == "relu")


@pytest.mark.parametrize(
    ("rule", "straight"),
    [("relu", True), ("conv", True), ("monotone", False), ("pools", False)],
)
def test_only_rectifiers_and_affine_layers_are_straight(rule, straight):
    x = torch.rand(2, 2, 4, 4)
    with torch.no_grad():
        assert interval_logits(Rule(RULES[rule]).eval(), x, x + 0.1)[2] is straight


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (lambda model, x: x * x, "product of two"),
        (lambda model, x: x[:, 1:].mul_(2), "part of a tensor"),
        (lambda model, x: x.sin(), "nothing is known of sin"),
        (lambda model, x: torch.add(x, x, alpha=2), "sum with a factor"),
        (lambda model, x: torch.div(x, 3, rounding_mode="floor"), "quotient that is rounded"),
        (lambda model, x: F.dropout(x, 0.5, training=True), "dropout that is on"),
        (lambda model, x: F.batch_norm(x, None, None, training=True), "training mode"),
        (lambda model, x: torch.zeros(2, 3), "lost on the way"),
        (lambda model, x: x.detach(), "nothing is known of detach"),
        (lambda model, x: torch.from_numpy(x.numpy()), "nothing is known of numpy"),
        (lambda model, x: x if x.mean() > 0 else -x, "nothing is known of"),
    ],
)
def test_what_is_unknown_has_no_bound(rule, reason):
    x = torch.rand(2, 2, 4, 4)
    with torch.no_grad(), pytest.raises(UnboundedError, match=reason):
        interval_logits(Rule(rule).eval(), x, x + 0.1)
