"""A gradient that contradicts differences is found, and layers that hide theirs are named."""

import pytest

from narrows.audit.checks.differentiable import differentiable
from narrows.audit.planted import JPEGLike, NoisyInput, Sawtooth
from scenarios_audit import case_of, undefended


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
