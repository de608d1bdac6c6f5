"""What looks wrong about a model before it is attacked."""

import pytest
import torch
from torch import nn

from narrows.attacks._suspicions import drift, suspicions
from narrows.errors import InputError

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
    assert "100% of the same in 0-255" in said


def test_a_model_that_changes_in_use_is_recognised_and_put_back():
    model = Counting()
    (said,) = suspicions(model, X, Y)
    assert "looks" in said
    assert model.looks == 0
    assert drift(Seen(), X) == []


def test_a_model_of_other_shapes_is_named():
    with pytest.raises(InputError, match=r"cannot be run on images \[8, 6\].*RuntimeError"):
        suspicions(nn.Linear(7, 3), X, Y)
