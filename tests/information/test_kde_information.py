import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from narrows.errors import InputError
from narrows.information import kde_bounds, kde_information, kde_relevance
from scenarios import generator

CASES = {
    "one noise for all codes": (1.0, 1.0),
    "a noise for each code": (1.0, None),
    "narrow codes, almost without overlap": (1.0, 0.01),
    "codes too narrow for float32": (1.0, 1e-7),
    "codes that lie far from each other": (500.0, None),
}


def codes(n, k, spread, scale, seed=0):
    draw = generator(seed)
    mean = spread * torch.randn(n, k, generator=draw)
    if isinstance(scale, float) and scale == 1.0:
        return mean, scale
    return mean, (scale or 0.5) * (0.5 + torch.rand(n, k, generator=draw))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("k", [1, 2, 11])
def test_one_pass_gives_what_two_give(case, k):
    mean, scale = codes(300, k, *CASES[case])
    y = torch.randint(0, 4, (300,), generator=generator(1))
    alone = [*kde_bounds(mean, scale), *kde_relevance(mean, scale, y)]
    for together, estimate in zip(kde_information(mean, scale, y), alone, strict=True):
        assert together.nats == pytest.approx(estimate.nats, abs=1e-5)
        assert together.std_error == pytest.approx(estimate.std_error, rel=1e-3, abs=1e-6)
        assert (together.n, together.ceiling) == (estimate.n, pytest.approx(estimate.ceiling))
        assert together.diagnostics.keys() == estimate.diagnostics.keys()
        for name, value in estimate.diagnostics.items():
            expected = pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
            assert together.diagnostics[name] == expected


@pytest.mark.parametrize("labels", ["one class", "each its own", "two of unequal size", "numbered"])
def test_any_number_of_classes(labels):
    mean, scale = codes(90, 3, 1.0, None)
    y = {
        "one class": torch.zeros(90, dtype=torch.long),
        "each its own": torch.arange(90).flip(0),
        "two of unequal size": (torch.arange(90) == 17).long(),
        "numbered": torch.arange(90) % 3 * 100 - 7,
    }[labels]
    for together, estimate in zip(
        kde_information(mean, scale, y)[2:], kde_relevance(mean, scale, y), strict=True
    ):
        assert together.nats == pytest.approx(estimate.nats, abs=1e-5)


@pytest.mark.parametrize("block", [1, 7, 89, 1000])
def test_blocks_change_nothing(block):
    mean, scale = codes(90, 3, 1.0, None)
    y = torch.arange(90) % 3
    for block_by_block, whole in zip(
        kde_information(mean, scale, y, block), kde_information(mean, scale, y), strict=True
    ):
        assert block_by_block.nats == pytest.approx(whole.nats, abs=1e-6)
        assert block_by_block.std_error == pytest.approx(whole.std_error, rel=1e-4)


def test_each_pair_is_computed_once():
    """The larger part of the time goes to powers of two; so many as pairs, and the diagonal."""

    class Powers(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "exp" in str(func) and "expand" not in str(func):
                self.count += args[0].numel()
            return func(*args, **(kwargs or {}))

    n = 2000
    mean, scale = codes(n, 2, 1.0, None)
    with Powers() as powers:
        kde_information(mean, scale, torch.arange(n) % 2)
    # Three for each pair: one of the symmetric distance, one of each order of the other.
    pairs, of_the_error, diagonal = n * n / 2, 250 * n, n * 128 / 2
    assert powers.count <= 3.02 * (pairs + of_the_error + diagonal)


def test_half_precision_lists_and_wrong_labels():
    mean, _ = codes(20, 2, 1.0, 1.0)
    y = torch.arange(20) % 2
    plain = kde_information(mean.half(), 1.0, y)
    assert plain == kde_information(mean.half().tolist(), 1.0, y.tolist())
    with pytest.raises(InputError, match="20"):
        kde_information(mean, 1.0, y[:-1])
    with pytest.raises(InputError, match="scale"):
        kde_information(mean, 0.0, y)
