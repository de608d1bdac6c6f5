"""What every estimator keeps to. A new one gets a line in ESTIMATORS and a row in ROWS."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information import ESTIMATORS
from narrows.types import Estimate
from scenarios import (
    Clusters,
    CorrelatedGaussians,
    GaussianChannel,
    TwoGaussians,
    UniformCode,
    generator,
)

CHANNELS = [GaussianChannel(1, 1.0, 1.0), GaussianChannel(2, 1.0, 2.0), GaussianChannel(3, 2.0)]
PAIRS = [CorrelatedGaussians(0.3), CorrelatedGaussians(0.9), CorrelatedGaussians(0.6, d=2)]
LABELS = [TwoGaussians(0.3), TwoGaussians(1.0), TwoGaussians(3.0, 2.0)]


def of_code(x: Tensor, noise: float) -> tuple:
    """Arguments of an estimator of I(X;Z): the code and a scale a sample."""
    return x, torch.full_like(x, noise)


@dataclass(frozen=True)
class Row:
    """An estimator's targets, how it is called on `n` samples of one, and its ways to fail.

    `arguments` returns tensors whose first axis is the samples.
    """

    targets: list
    arguments: Callable[..., tuple]
    scaled: bool = False
    labelled: bool = False


ROWS = {
    "variational_rate": Row(
        CHANNELS, lambda target, n: of_code(target.sample(n), target.noise), scaled=True
    ),
    "variational_relevance": Row(
        LABELS,
        lambda target, n: (target.logits(target.sample(n)[1]), target.sample(n)[2]),
        labelled=True,
    ),
    "kde_bounds": Row(
        CHANNELS, lambda target, n: of_code(target.sample(n), target.noise), scaled=True
    ),
    "kde_relevance": Row(
        LABELS,
        lambda target, n: (*of_code(target.sample(n)[0], target.noise), target.sample(n)[2]),
        scaled=True,
        labelled=True,
    ),
    "binned_rate": Row([UniformCode()], lambda target, n: (target.sample(n),)),
    "binned_relevance": Row(LABELS, lambda target, n: target.sample(n)[1:], labelled=True),
    "renyi_information": Row(
        [Clusters(2), Clusters(3)], lambda target, n: target.sample(min(n, 400))
    ),
    "ksg": Row(PAIRS, lambda target, n: target.sample(n)),
    "ksg_relevance": Row(LABELS, lambda target, n: target.sample(n)[1:], labelled=True),
}

every = pytest.mark.parametrize("name", ESTIMATORS)


def estimates(name: str, arguments: tuple) -> tuple[Estimate, ...]:
    result = ESTIMATORS[name](*arguments)
    return result if isinstance(result, tuple) else (result,)


def example(name: str, n: int = 60) -> tuple:
    row = ROWS[name]
    return row.arguments(row.targets[0], n)


def test_every_estimator_has_a_row_and_is_exported():
    import narrows.information

    assert ROWS.keys() == ESTIMATORS.keys()
    assert set(ESTIMATORS) <= set(narrows.information.__all__)
    assert all(ESTIMATORS[name].__name__ == name for name in ESTIMATORS)


@pytest.mark.parametrize(
    ("name", "target"), [(name, target) for name, row in ROWS.items() for target in row.targets]
)
def test_the_truth_lies_on_the_stated_side_of_each_bound(name, target):
    for estimate in estimates(name, ROWS[name].arguments(target, 2000)):
        margin = 0 if math.isnan(estimate.std_error) else 3 * estimate.std_error
        above = estimate.nats - target.information
        if estimate.diagnostics["bound"] == "none":
            assert abs(above) <= margin + 0.05 * target.information
        elif estimate.diagnostics["bound"] == "lower":
            assert above <= margin
        else:
            assert -above <= margin


@every
def test_it_returns_what_is_needed_to_believe_or_doubt_it(name):
    for estimate in estimates(name, example(name)):
        assert isinstance(estimate, Estimate)
        assert estimate.n == 60
        assert type(estimate.nats) is float
        assert estimate.nats <= estimate.ceiling
        assert 0 <= estimate.std_error < 1 or math.isnan(estimate.std_error)
        assert estimate.diagnostics["bound"] in ("lower", "upper", "none")


@every
def test_the_order_of_the_samples_does_not_matter(name):
    order = torch.randperm(60, generator=generator(0))
    shuffled = tuple(part[order] for part in example(name))
    for one, other in zip(estimates(name, example(name)), estimates(name, shuffled), strict=True):
        assert one.nats == pytest.approx(other.nats, rel=1e-10, abs=1e-12)
        assert one.std_error == pytest.approx(other.std_error, rel=1e-10, nan_ok=True)


@every
def test_single_and_double_precision_agree(name):
    single = tuple(part.float() if part.is_floating_point() else part for part in example(name))
    for one, other in zip(estimates(name, example(name)), estimates(name, single), strict=True):
        assert one.nats == pytest.approx(other.nats, rel=1e-5, abs=1e-6)


@every
def test_it_leaves_its_inputs_and_their_gradients_alone(name):
    arguments = example(name)
    copies = [part.clone() for part in arguments]
    arguments[0].requires_grad_()
    estimates(name, arguments)
    assert all(torch.equal(one, other) for one, other in zip(arguments, copies, strict=True))


@every
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(name, value):
    arguments = example(name)
    arguments[0][5, 0] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        estimates(name, arguments)


@every
def test_one_sample_is_refused(name):
    with pytest.raises(InputError, match="at least 2"):
        estimates(name, tuple(part[:1] for part in example(name)))


@every
def test_samples_that_are_not_vectors_are_refused(name):
    first, *others = example(name)
    for wrong in (first.cfloat(), first[None, None], first.sum()):
        with pytest.raises(InputError, match=r"must be real numbers \[n"):
            estimates(name, (wrong, *others))


@every
def test_unequal_lengths_are_refused(name):
    arguments = example(name)
    for i in range(1, len(arguments)):
        short = [*arguments]
        short[i] = short[i][:-1]
        with pytest.raises(InputError, match=r"\[60, 1\]|60 samples, (59 of z|got 59)"):
            estimates(name, tuple(short))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.scaled])
@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_a_scale_that_is_not_positive_is_refused(name, value):
    arguments = [*example(name)]
    arguments[1][3, 0] = value
    with pytest.raises(InputError, match="zero, negative or not finite"):
        estimates(name, tuple(arguments))
    arguments[1] = value
    with pytest.raises(InputError, match="scale must be finite and larger than 0"):
        estimates(name, tuple(arguments))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.labelled])
def test_labels_that_are_not_integers_are_refused(name):
    *others, y = example(name)
    for wrong in (y.double(), y.bool(), y[:, None]):
        with pytest.raises(InputError, match="y must be integers"):
            estimates(name, (*others, wrong))
