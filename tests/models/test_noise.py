from contextlib import suppress

import pytest
import torch

from narrows.models.noise import SeededNoise, forked_rng, noise_from, standard_normal


def seeded(seed: int) -> SeededNoise:
    return SeededNoise(torch.Generator().manual_seed(seed))


def test_without_a_source_noise_is_torchs_own():
    torch.manual_seed(0)
    drawn = standard_normal((2, 3), torch.zeros(1, dtype=torch.float64))
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.randn(2, 3, dtype=torch.float64))


def test_a_source_takes_the_place_of_the_global_generator_for_a_while():
    before = torch.get_rng_state()
    with noise_from(seeded(3)):
        drawn = standard_normal((4,), torch.zeros(1))
        with noise_from(seeded(3)):
            assert torch.equal(standard_normal((4,), torch.zeros(1)), drawn)
        assert not torch.equal(standard_normal((4,), torch.zeros(1)), drawn)
    assert torch.equal(drawn, torch.randn(4, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_is_back_after_an_exception():
    try:
        with noise_from(seeded(3)):
            raise ValueError
    except ValueError:
        torch.manual_seed(0)
        expected = torch.randn(4)
        torch.manual_seed(0)
        assert torch.equal(standard_normal((4,), torch.zeros(1)), expected)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_forked_generator_is_restored(seed):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with forked_rng(seed=seed):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0 if seed is None else seed)
    assert torch.equal(first, torch.rand(3))


def test_a_forked_generator_is_restored_after_an_error():
    before = torch.get_rng_state()
    with suppress(ValueError), forked_rng("cpu", 1):
        torch.rand(1)
        raise ValueError
    assert torch.equal(torch.get_rng_state(), before)
