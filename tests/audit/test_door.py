"""Rows are spread over all of a set, and points near images lie within the radius."""

import re

import pytest
import torch
from torch import nn

from narrows.attacks.norms import size
from narrows.audit import audit
from narrows.audit._door import batch_dependence, check_classifier, moved, nearby, spread_rows
from narrows.audit._subject import Subject
from narrows.errors import InputError


@pytest.mark.parametrize(("count", "most"), [(5, 8), (8, 8), (1000, 8), (1, 1)])
def test_rows_are_spread(count, most):
    rows = spread_rows(count, most)
    assert len(rows) == len(set(rows.tolist())) == min(count, most)
    assert rows[0] == 0
    assert rows[-1] == count - 1


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.5)])
def test_points_nearby(norm, eps):
    x = torch.full((6, 1, 4, 4), 0.5)
    images, anywhere, corner = nearby(x, norm, eps, 0)
    assert torch.equal(images, x)
    assert (size(anywhere - x, norm) <= eps + 1e-6).all()
    torch.testing.assert_close(size(corner - x, norm), torch.full((6,), eps))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_rounding_is_no_difference_at_any_size_of_the_logits(scale):
    logits = scale * torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert not moved(logits, logits * (1 + 1e-6))
    assert moved(logits, logits + scale * torch.tensor([0.0, 0.0, 0.1]))


class _Changed(nn.Module):
    def __init__(self, change) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(16, 3), change

    def forward(self, x):
        return self.change(self.linear(x.flatten(1)))


X, Y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def subject_of(change):
    torch.manual_seed(0)
    return Subject(_Changed(change), torch.float32, X, Y)


def test_images_without_an_answer_do_not_hide_the_number_of_classes():
    first = torch.tensor([[torch.nan], [0.0], [0.0], [0.0], [0.0], [0.0]])
    assert check_classifier(subject_of(lambda z: z + first[: len(z)]), X) == 3
    with pytest.raises(InputError, match="floating point logits"):
        check_classifier(subject_of(lambda z: z.argmax(1, keepdim=True).expand(-1, 3)), X)


def ranked(z):
    return z + (torch.arange(len(z)).unsqueeze(1) >= max(1, len(z) // 2))


def refusing(least):
    def change(z):
        if len(z) < least:
            raise ValueError("too few images")
        return z

    return change


@pytest.mark.parametrize(
    ("change", "count", "says"),
    [
        (lambda z: z, 20, ""),
        (lambda z: z, 1, ""),
        (lambda z: z - z.mean(0), 20, r"logits move by [\d.]+ standard .* shown alone"),
        (lambda z: z - z.mean(0), 1, "shown alone"),
        (ranked, 20, "in the opposite order"),
        (lambda z: z + 0.3 * torch.randn_like(z), 20, ""),
        (refusing(3), 20, "cannot be run on a single image"),
    ],
)
def test_how_an_answer_depends_on_the_batch_is_said(change, count, says):
    subject = subject_of(change)

    def look(x, seed):
        torch.manual_seed(seed)
        return subject(x)

    x = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    noisy = not torch.equal(look(x, 0), look(x, 1)) if count > 1 else False
    with torch.random.fork_rng([]):
        answer = batch_dependence(subject, x, look, stochastic=noisy)
    assert re.search(says, answer) if says else answer == ""


def test_a_model_that_takes_no_single_image_is_shown_it_twice():
    subject = subject_of(refusing(2))
    assert batch_dependence(subject, X, lambda x, seed: subject(x), stochastic=False) == ""
    assert subject.doubled


@pytest.mark.parametrize(
    ("change", "x", "y", "says"),
    [
        (lambda z: z.to("meta"), X, Y, "logits must hold numbers"),
        (lambda z: z.to_sparse(), X, Y, "logits must be a dense tensor"),
        (lambda z: z[:, :0], X, Y, "the model has 0"),
        (lambda z: z, X.to("meta"), Y, "images must hold numbers"),
        (lambda z: z, X, Y.to("meta"), "labels must hold numbers"),
        (lambda z: z, X.to_sparse(), Y, "images must be a dense tensor"),
    ],
)
def test_what_holds_no_numbers_is_not_audited(change, x, y, says):
    with pytest.raises(InputError, match=says):
        audit(_Changed(change), x, y, eps=0.1, budget="fast")
