"""The model as the audit asks it: numbers, row by row, whatever it returns."""

import math

import pytest
import torch
from torch import nn

from narrows.audit._guarded import Guarded
from narrows.audit._subject import Subject, defined, held
from narrows.errors import InputError
from scenarios_audit import NaNGradient, NumPyInside, Overwriting, undefended


class Returns(nn.Module):
    """The same rows, whatever it is shown."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, x):
        return self.rows[: len(x)] + 0 * x.flatten(1).sum(1, keepdim=True)


X, Y = torch.tensor([[0.1, 0.1], [0.9, 0.9]]), torch.tensor([2, 1])


def subject(rows):
    return Subject(Returns(rows), torch.float32, X, Y)


def test_minus_infinity_is_104_below_what_is_finite():
    logits = subject([[1.0, -math.inf, 3.0], [0.0, 1.0, 2.0]])(X)
    assert logits.tolist() == [[1.0, -103.0, 3.0], [0.0, 1.0, 2.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_the_class_of_the_nearest_image(bad):
    model = subject([[1.0, bad, 3.0], [0.0, 1.0, 2.0]])
    perturbed = torch.tensor([[0.8, 0.9], [0.2, 0.1]])
    logits = model(perturbed)
    assert logits[0].argmax() == 1  # the label of the second image
    assert logits[1].tolist() == [0.0, 1.0, 2.0]
    assert model.undefined.tolist() == [False, True]
    drawn = model.draw_logits(perturbed, 3)
    assert torch.equal(drawn, logits.expand(3, 2, 3))


def test_rows_that_say_a_class():
    rows = torch.tensor([[0.0, -math.inf], [-math.inf, -math.inf], [0, math.inf], [0, math.nan]])
    assert defined(rows).tolist() == [True, False, False, False]


@pytest.mark.parametrize("wrap", [NumPyInside, NaNGradient])
def test_a_model_without_a_usable_gradient_has_a_zero_one(wrap):
    model, x, y = undefended()
    at = x.clone().requires_grad_()
    view = Guarded(Subject(wrap(model), torch.float32, x, y))
    logits = view(at)
    torch.testing.assert_close(logits.detach(), model(x))
    (gradient,) = torch.autograd.grad(logits.sum(), at)
    assert gradient.eq(0).all()


def test_a_model_that_overwrites_has_no_gradient_either():
    model, x, y = undefended()
    at = x.clone().requires_grad_()
    logits = Guarded(Subject(Overwriting(model), torch.float32, x, y))(at)
    assert logits.requires_grad


def test_errors_are_one_line():
    _, x, y = undefended()
    with pytest.raises(InputError, match=r"images \[40, 1, 8, 8\].*cannot be multiplied") as error:
        Subject(nn.Linear(3, 2), torch.float32, x, y)(x)
    assert "\n" not in str(error.value)


def test_an_attack_leaves_the_mode_of_a_hidden_model_alone():
    model = nn.Linear(2, 3).train()
    Subject(model, torch.float32, X, Y).eval()
    assert model.training
    with held(model):
        assert not model.training
        assert not model.weight.requires_grad
    assert model.training
    assert model.weight.requires_grad


@pytest.mark.parametrize(("doubled", "shown"), [(True, [2, 2, 3]), (False, [1, 2, 3])])
def test_a_single_image_is_shown_twice_to_a_model_that_needs_it(doubled, shown):
    sizes = []

    class Counting(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x @ torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])

    model = Subject(Counting(), torch.float32, X, Y, doubled=doubled)
    x = torch.cat([X, X])[:3]
    alone, pair, three = model(x[:1]), model(x[:2]), model(x)
    assert sizes == shown
    assert torch.equal(alone, three[:1])
    assert torch.equal(pair, three[:2])
