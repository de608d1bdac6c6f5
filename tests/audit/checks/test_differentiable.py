"""A gradient that contradicts differences is found, and layers that hide theirs are named."""

import pytest
import torch
import torch.nn.functional as F

from narrows.audit.checks.differentiable import differentiable
from narrows.audit.planted import JPEGLike, NoisyInput, Sawtooth
from scenarios_audit import Around, MonteCarloDropout, case_of, undefended


@pytest.mark.parametrize("wrap", [Sawtooth, NoisyInput])
def test_a_gradient_that_points_elsewhere_is_found(wrap):
    finding = differentiable(case_of(wrap))
    assert not finding.passed
    assert finding.data["correlation"] < 0.5


def test_a_layer_that_hides_its_gradient_is_named():
    finding = differentiable(case_of(JPEGLike))
    assert not finding.passed
    assert "compress" in finding.evidence


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_true_gradient_passes_however_few_the_images(count):
    _, x, y = undefended()
    assert differentiable(case_of(x=x[:count], y=y[:count])).data["correlation"] > 0.95


class FlatWithGradient(torch.autograd.Function):
    """The class alone forward, and a gradient backward."""

    @staticmethod
    def forward(ctx, logits):
        return F.one_hot(logits.argmax(1), 10).float()

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0]


class Flat(Around):
    def forward(self, x):
        return F.one_hot(self.model(x).argmax(1), 10).float() + 0 * x.sum()


class Lying(Around):
    def forward(self, x):
        return FlatWithGradient.apply(self.model(x))


@pytest.mark.parametrize(("wrap", "correlation"), [(Flat, 1.0), (Lying, 0.0)])
def test_where_nothing_moves_a_true_gradient_is_zero(wrap, correlation):
    finding = differentiable(case_of(wrap, eps=1e-4))
    assert finding.data["correlation"] == correlation
    assert finding.passed is (correlation == 1)


def test_honest_noise_is_held_and_passes():
    case = case_of(MonteCarloDropout)
    assert case.stochastic
    finding = differentiable(case)
    assert finding.passed
    assert finding.data["correlation"] > 0.9
    assert finding.remedy == ""
