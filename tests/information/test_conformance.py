"""What holds for every estimator of the registry; a new entry is tested without a change here."""

import math

import pytest
import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information import ESTIMATORS
from narrows.types import Estimate
from scenarios import generator

N = 60

every = pytest.mark.parametrize("name", ESTIMATORS)


def that(condition):
    """Only the estimators for which a condition holds."""
    names = [name for name, entry in ESTIMATORS.items() if condition(entry)]
    return pytest.mark.parametrize("name", names)


def example(name: str, n: int = N, seed: int = 0) -> tuple:
    return ESTIMATORS[name].example.sample(n, seed)


def changed(arguments: tuple, change) -> tuple:
    """The arguments with each tensor changed; settings among them stay."""
    return tuple(change(part) if isinstance(part, Tensor) else part for part in arguments)


def estimates(name: str, arguments: tuple) -> tuple[Estimate, ...]:
    entry = ESTIMATORS[name]
    drawn = {"generator": generator(1)} if entry.randomness == "generator" else {}
    result = entry(*arguments, **drawn)
    return result if isinstance(result, tuple) else (result,)


@every
@pytest.mark.parametrize("seed", range(3))
def test_the_truth_lies_on_the_stated_side_of_each_bound(name, seed):
    truth = ESTIMATORS[name].example.information
    for estimate in estimates(name, example(name, 1000, seed)):
        margin = 0 if math.isnan(estimate.std_error) else 3 * estimate.std_error
        above = estimate.nats - truth
        if estimate.diagnostics["bound"] == "none":
            assert abs(above) <= margin + 0.05 * truth
        elif estimate.diagnostics["bound"] == "lower":
            assert above <= margin
        else:
            assert -above <= margin


@every
def test_it_returns_what_is_needed_to_believe_or_doubt_it(name):
    results = estimates(name, example(name))
    assert len(ESTIMATORS[name].measures) in (1, len(results))
    for estimate in results:
        assert isinstance(estimate, Estimate)
        # A critic scores a fifth of the samples, and says so.
        assert estimate.n == (12 if name == "fit_critic" else N)
        assert type(estimate.nats) is float
        assert estimate.nats <= estimate.ceiling
        assert 0 <= estimate.std_error < 1 or math.isnan(estimate.std_error)
        assert estimate.diagnostics["bound"] in ("lower", "upper", "none")


@that(lambda entry: entry.randomness == "none")
def test_the_order_of_the_samples_does_not_matter(name):
    order = torch.randperm(N, generator=generator(0))
    shuffled = changed(example(name), lambda part: part[order])
    pairs = zip(estimates(name, example(name)), estimates(name, shuffled), strict=True)
    for estimate, of_shuffled in pairs:
        assert estimate.nats == pytest.approx(of_shuffled.nats, rel=1e-10, abs=1e-12)
        assert estimate.std_error == pytest.approx(of_shuffled.std_error, rel=1e-10, nan_ok=True)


@that(lambda entry: entry.randomness == "none")
def test_single_and_double_precision_agree(name):
    single = changed(example(name), lambda part: part.float() if part.is_floating_point() else part)
    pairs = zip(estimates(name, example(name)), estimates(name, single), strict=True)
    for estimate, of_single in pairs:
        assert estimate.nats == pytest.approx(of_single.nats, rel=1e-5, abs=1e-6)


@every
def test_random_numbers_come_from_where_the_entry_says(name):
    state = torch.random.get_rng_state()
    first, second = (estimates(name, example(name)) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert [estimate.nats for estimate in first] == [estimate.nats for estimate in second]


@that(lambda entry: entry.randomness == "seed")
def test_another_seed_draws_other_numbers(name):
    entry = ESTIMATORS[name]
    assert entry(*example(name), seed=0) != entry(*example(name), seed=1)


@every
def test_it_leaves_its_inputs_and_their_gradients_alone(name):
    arguments = example(name)
    copies = changed(arguments, Tensor.clone)
    arguments[0].requires_grad_()
    estimates(name, arguments)
    tensors = [isinstance(part, Tensor) for part in arguments]
    pairs = zip(arguments, copies, tensors, strict=True)
    assert all(torch.equal(part, copy) for part, copy, is_tensor in pairs if is_tensor)


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
        estimates(name, changed(example(name), lambda part: part[:1]))


@every
def test_samples_that_are_not_vectors_are_refused(name):
    first, *others = example(name)
    for wrong in (first.cfloat(), first[None, None], first.sum()):
        with pytest.raises(InputError, match=r"must be real numbers \[n|must hold real numbers"):
            estimates(name, (wrong, *others))


@every
def test_unequal_lengths_are_refused(name):
    arguments = example(name)
    for i in range(1, len(ESTIMATORS[name].inputs)):
        short = [*arguments]
        short[i] = short[i][:-1]
        with pytest.raises(InputError, match=r"\[60, 1\]|60 samples, (59 of z|got 59)"):
            estimates(name, tuple(short))


@that(lambda entry: "scale" in entry.inputs)
@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_a_scale_that_is_not_positive_is_refused(name, value):
    arguments = [*example(name)]
    arguments[1][3, 0] = value
    with pytest.raises(InputError, match="zero, negative or not finite"):
        estimates(name, tuple(arguments))
    arguments[1] = value
    with pytest.raises(InputError, match="scale must be finite and larger than 0"):
        estimates(name, tuple(arguments))


@that(lambda entry: "y" in entry.inputs)
def test_labels_that_are_not_integers_are_refused(name):
    *others, y = example(name)
    for wrong in (y.double(), y.bool(), y[:, None]):
        with pytest.raises(InputError, match="y must be integers"):
            estimates(name, (*others, wrong))
