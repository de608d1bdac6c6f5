"""A surrogate says what the model says, from probabilities or from classes alone."""

import pytest
import torch

from narrows.attacks.norms import size
from narrows.audit.planted import Quantised, ScaledLogits
from narrows.audit.surrogate import _points, _taught, distil
from scenarios_audit import Misleading, case_of


@pytest.mark.parametrize("wrap", [Quantised, ScaledLogits])
@pytest.mark.parametrize("labels_only", [True, False])
def test_it_agrees_with_the_model(wrap, labels_only):
    case = case_of(wrap)
    agree = distil(case, labels_only=labels_only)(case.x).argmax(1) == case.logits.argmax(1)
    assert agree.double().mean() > 0.9


def test_classes_alone_teach_nothing_of_confidence():
    logits = torch.tensor([[0.0, 5.0, 1.0], [1e4, 0.0, 0.0]])
    assert _taught(logits, labels_only=True).tolist() == [[0, 1, 0], [1, 0, 0]]
    softened = _taught(logits, labels_only=False)
    torch.testing.assert_close(softened.sum(1), torch.ones(2))
    assert softened[0].argmax() == 1


def test_a_trap_transfers_from_its_classes():
    case = case_of(Misleading, eps=0.15)
    attack = case.pgd(loss="margin")
    usual, by_labels = case.plain(attack), case.run(attack, "labels")
    assert by_labels.success.sum() > usual.success.sum() + 4


@pytest.mark.parametrize(("norm", "eps", "radius"), [("linf", 0.1, 0.2), ("l2", 0.8, 1.6)])
def test_points_are_asked_for_within_twice_the_radius_and_on_the_way_to_the_goal(norm, eps, radius):
    case = case_of(norm=norm, eps=eps)
    case.x[:] = 0.5  # far from where points are clipped
    points = _points(case, case.x, case.generator())
    around, way = size(points[::2] - 0.5, norm), size(points[1::2] - 0.5, norm)
    assert around.max() <= radius + 1e-6
    assert around.max() > 0.9 * radius
    # The goal is the image itself here: what is left is the noise on the way.
    assert way.max() <= eps / 4 + 1e-6
