"""What looks wrong about a model before it is attacked."""

import math

import pytest
import torch
from torch import nn

from narrows.attacks.suspicions import drift, suspicions, too_far
from narrows.data import load
from narrows.errors import InputError
from narrows.models import adapt

torch.manual_seed(0)
X = torch.rand(40, 6)
TEACHER = nn.Linear(6, 3, bias=False).requires_grad_(False)
Y = TEACHER(X - 0.5).argmax(1)


class Seen(nn.Module):
    """The teacher behind a function of its input or its output."""

    def __init__(self, before=lambda x: x, after=lambda logits: logits):
        super().__init__()
        self.before, self.after, self.teacher = before, after, TEACHER
        self.register_buffer("looks", torch.zeros(()))

    def forward(self, x):
        return self.after(self.teacher(self.before(x) - 0.5))


class Counting(Seen):
    def forward(self, x):
        self.looks += 1
        return super().forward(x)


def test_an_honest_model_raises_no_suspicion():
    assert suspicions(Seen(), X, Y) == []
    assert suspicions(Seen(after=lambda logits: logits.log_softmax(1)), X, Y) == []


def test_probabilities_are_recognised():
    (said,) = suspicions(Seen(after=lambda logits: logits.softmax(1)), X, Y)
    assert "probabilities" in said


def test_a_model_of_other_units_is_recognised():
    (said,) = suspicions(Seen(before=lambda x: x / 255), X, Y)
    assert "100% of the same images in 0-255" in said


def test_a_model_that_changes_in_use_is_recognised_and_put_back():
    model = Counting()
    (said,) = suspicions(model, X, Y)
    assert "looks" in said
    assert model.looks == 0
    assert drift(Seen(), X) == []


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (lambda x: x.sub_(0.1), lambda logits: logits, "overwrites the images"),
        (lambda x: x, lambda logits: logits.argmax(1, keepdim=True), "returns torch.int64"),
    ],
)
def test_what_no_attack_can_go_on_with_is_refused(before, after, says):
    given = X.clone()
    with pytest.raises(InputError, match=says):
        suspicions(Seen(before, after), given, Y)
    assert torch.equal(given, X)


@pytest.mark.parametrize(("norm", "p"), [("l2", 2), ("linf", math.inf)])
def test_a_radius_that_reaches_other_classes_is_recognised(norm, p):
    nearest = [
        min(float((a - b).norm(p)) for b, other in zip(X, Y, strict=True) if other != label)
        for a, label in zip(X, Y, strict=True)
    ]
    for eps in (0.5 * min(nearest), sorted(nearest)[20]):
        share = sum(distance <= eps * (1 + 1e-5) for distance in nearest) / len(X)
        assert too_far(X, Y, eps * (1 + 1e-5), norm) == pytest.approx(share)
    assert suspicions(Seen(), X, Y, 0.5 * min(nearest), norm) == []
    (said,) = suspicions(Seen(), X, Y, sorted(nearest)[20], norm)
    assert "another class" in said
    assert "0-255" in said


def test_radii_of_the_field_raise_no_suspicion_and_those_of_255_do():
    x, y = load("digits").test.batch(slice(0, 300))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for eps, norm, wanted in ((0.3, "linf", False), (1.0, "l2", False), (4.0, "l2", True)):
        said = suspicions(model, x, y, eps, norm)
        assert any("another class" in one for one in said) is wanted


def test_a_model_of_other_shapes_is_named():
    with pytest.raises(InputError, match=r"cannot be run on images \[8, 6\].*RuntimeError"):
        suspicions(nn.Linear(7, 3), X, Y)


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.5, 0.29)])
def test_a_model_that_expects_normalised_images_is_recognised(mean, std):
    model = Seen(before=lambda x: x * std + mean)  # of x that is normalised
    (said,) = suspicions(model, X, Y)
    assert "of the same images after normalisation; give what it was trained with by --mean" in said
    assert suspicions(adapt(model, mean=mean, std=std), X, Y) == []
