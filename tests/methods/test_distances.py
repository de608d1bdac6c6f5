import pytest
import torch

from narrows.methods import _distances
from narrows.methods._distances import squared_distances
from scenarios import generator

# With blocks of four columns, so that several are full and the last is not.
blocks = pytest.mark.usefixtures("narrow")


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(_distances, "_COLUMNS", 4)


def samples(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def slow_distances(x):
    return torch.stack([torch.stack([(a - b).square().sum() for b in x]) for a in x])


@blocks
@pytest.mark.parametrize("shape", [(7, 10), (8, 3), (1, 5), (2, 4)])
def test_they_are_those_of_pair_after_pair_with_their_gradient(shape):
    x, weights = samples(*shape).requires_grad_(), samples(shape[0], shape[0], seed=1)
    fast, slow = squared_distances(x), slow_distances(x)
    torch.testing.assert_close(fast, slow)
    gradients = [torch.autograd.grad((d * weights).sum(), x)[0] for d in (fast, slow)]
    torch.testing.assert_close(*gradients)


@blocks
def test_gradients_are_those_of_differences_to_the_second_order():
    x = samples(5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: (squared_distances(x) / -20).exp(), x)
    assert torch.autograd.gradgradcheck(lambda x: (squared_distances(x) / 20).sin(), x)


@blocks
def test_they_can_be_mapped_over_members_with_their_gradients():
    x = samples(3, 6, 9)
    loss = torch.func.grad(lambda x: squared_distances(x).neg().exp().sum())
    together = torch.func.vmap(loss)(x)
    torch.testing.assert_close(together, torch.stack([loss(own) for own in x]))


def test_single_precision_is_not_lost_to_a_large_mean():
    x = samples(20, 50) + 1000
    single = squared_distances(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), slow_distances(x.float().double()), rtol=1e-4, atol=1e-3
    )
    assert single.min() >= 0


def test_a_nan_stays_one():
    x = samples(4, 3)
    x[1, 2] = torch.nan
    assert squared_distances(x)[1].isnan().all()
