import logging

import numpy as np
import pytest
import torch

from narrows.attacks.losses import (
    LOSSES,
    aimed,
    cross_entropy,
    dlr,
    lead,
    log_odds,
    margin,
    probability_margin,
    resolve_loss,
    targeted_dlr,
    toward,
)
from narrows.errors import ConfigError

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.5]])


def test_margin_is_the_lead_of_the_best_other_class():
    assert margin(LOGITS, torch.tensor([0, 2])).tolist() == [-1.0, 0.5]


def test_cross_entropy_is_the_negative_log_likelihood_of_each():
    labels = torch.tensor([0, 2])
    expected = -LOGITS.softmax(1).gather(1, labels[:, None]).squeeze(1).log()
    torch.testing.assert_close(cross_entropy(LOGITS, labels), expected)


def test_log_odds_are_those_of_the_softmax_and_rise_where_cross_entropy_does():
    logits, labels, _ = numbers(7)
    logits.requires_grad_()
    p = logits.softmax(1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(log_odds(logits, labels), ((1 - p) / p).log())
    (uphill,) = torch.autograd.grad(log_odds(logits, labels).sum(), logits)
    (other,) = torch.autograd.grad(cross_entropy(logits, labels).sum(), logits)
    torch.testing.assert_close(uphill * (1 - p)[:, None], other)
    far = torch.tensor([[1e4, 0.0, 1.0]], requires_grad=True)
    (uphill,) = torch.autograd.grad(log_odds(far, torch.tensor([0])).sum(), far)
    assert uphill.abs().sum() == pytest.approx(2)


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_an_image(name):
    assert resolve_loss(name)(LOGITS, torch.tensor([1, 1])).shape == (2,)


def test_unknown_loss_names_the_known():
    with pytest.raises(ConfigError, match=r"unknown attack loss 'crossentropy'.*cross_entropy"):
        resolve_loss("crossentropy")


def numbers(classes: int, count: int = 50):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(count, classes, dtype=torch.float64, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    targets = (labels + torch.randint(1, classes, (count,), generator=generator)) % classes
    return logits, labels, targets


def test_dlr_equals_the_papers_equation_6():
    logits, labels, _ = numbers(7)
    for z, y, value in zip(logits.numpy(), labels.tolist(), dlr(logits, labels), strict=True):
        ordered = np.sort(z)[::-1]
        expected = -(z[y] - np.delete(z, y).max()) / (ordered[0] - ordered[2])
        assert value.item() == pytest.approx(expected, rel=1e-12)


def test_the_margin_of_probabilities_is_positive_exactly_on_success():
    logits, labels, _ = numbers(7)
    p = logits.softmax(1).numpy()
    values = probability_margin(logits, labels)
    for row, y, value in zip(p, labels.tolist(), values.tolist(), strict=True):
        assert value == pytest.approx(np.delete(row, y).max() - row[y], rel=1e-12)
    assert torch.equal(values > 0, logits.argmax(1) != labels)
    reached = toward(probability_margin)(logits, labels)
    assert torch.equal(reached > 0, logits.argmax(1) == labels)


def test_targeted_dlr_equals_the_papers_equation_7():
    logits, labels, targets = numbers(7)
    values = targeted_dlr(logits, labels, targets)
    for z, y, t, value in zip(logits.numpy(), labels, targets, values, strict=True):
        ordered = np.sort(z)[::-1]
        spread = ordered[0] - (ordered[2] + ordered[3]) / 2
        assert value.item() == pytest.approx(-(z[y] - z[t]) / spread, rel=1e-12)


def test_dlr_losses_know_neither_shift_nor_scale():
    logits, labels, targets = numbers(5)
    other = 1e4 * logits - 7
    torch.testing.assert_close(dlr(other, labels), dlr(logits, labels))
    torch.testing.assert_close(
        targeted_dlr(other, labels, targets), targeted_dlr(logits, labels, targets)
    )


def test_dlr_with_too_few_classes_is_the_margin_and_says_so(caplog):
    logits, labels, targets = numbers(2)
    assert torch.equal(dlr(logits, labels), margin(logits, labels))
    logits3, labels3, targets3 = numbers(3)
    assert torch.equal(targeted_dlr(logits3, labels3, targets3), lead(logits3, labels3, targets3))
    assert torch.equal(lead(logits, labels, targets), margin(logits, labels))
    with caplog.at_level(logging.WARNING):
        resolve_loss("dlr", 3)
        assert not caplog.records
        resolve_loss("dlr", 2)
    assert "dlr needs 3 classes and the model has 2; the margin" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_logits_give_a_finite_gradient(dtype):
    logits = torch.zeros(2, 5, dtype=dtype, requires_grad=True)
    labels, targets = torch.tensor([0, 1]), torch.tensor([2, 3])
    for loss in (dlr, aimed(targeted_dlr, targets)):
        value = loss(logits, labels)
        assert (value == 0).all()
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert torch.isfinite(gradient).all()


def test_the_targeted_form_of_dlr_equals_equation_7_with_the_best_other_class():
    logits, _, targets = numbers(7)
    for z, t, value in zip(logits.numpy(), targets, toward(dlr)(logits, targets), strict=True):
        ordered = np.sort(z)[::-1]
        spread = ordered[0] - (ordered[2] + ordered[3]) / 2
        assert value.item() == pytest.approx((z[t] - np.delete(z, t).max()) / spread, rel=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("loss", [cross_entropy, margin, log_odds, dlr], ids=lambda f: f.__name__)
def test_every_targeted_form_rises_with_its_target_whatever_its_rank(loss, rank):
    logits = torch.tensor([[3.0, 2.0, 1.2, 0.5, -1.0]], requires_grad=True)
    target = torch.tensor([rank])
    (gradient,) = torch.autograd.grad(toward(loss)(logits, target).sum(), logits)
    assert gradient[0, rank] > 0.1
    assert toward(loss)(logits, target) < toward(loss)(logits, torch.tensor([0]))


def test_the_targeted_form_of_dlr_with_three_classes_is_the_margin_and_says_so(caplog):
    logits, _, targets = numbers(3)
    assert torch.equal(toward(dlr)(logits, targets), -margin(logits, targets))
    with caplog.at_level(logging.WARNING):
        resolve_loss("dlr", 4, targeted=True)
        assert not caplog.records
        resolve_loss("dlr", 3, targeted=True)
    assert "targeted_dlr needs 4 classes and the model has 3; the margin" in caplog.text
