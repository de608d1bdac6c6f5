import math

import pytest
import torch
from torch import nn
from torch.func import vmap

from narrows import NIB, Bottleneck
from narrows.errors import InputError
from narrows.information import kde_bounds
from narrows.methods.nib import pairwise_bound
from narrows.types import Batch, Latent


def make(latent="shared") -> Bottleneck:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2), latent=latent).double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def codes(n=16, size=3, scale=0.7, spread=1.0, dtype=torch.float64) -> Latent:
    generator = torch.Generator().manual_seed(2)
    mean = spread * torch.randn(n, size, generator=generator, dtype=torch.float64).to(dtype)
    return Latent(mean, mean, torch.full_like(mean, scale))


def slow_bound(mean: torch.Tensor, scale: float) -> torch.Tensor:
    """B, pair by pair."""
    m, total = len(mean), 0.0
    for i in range(m):
        inner = 0.0
        for j in range(m):
            inner = inner + torch.exp(-((mean[i] - mean[j]) ** 2).sum() / (2 * scale**2))
        total = total - torch.log(inner / m) / m
    return total


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_bound_and_its_gradient_are_those_of_the_double_sum(scale):
    latent = codes(scale=scale)
    mean = latent.mean.clone().requires_grad_()
    own = pairwise_bound(latent._replace(mean=mean))
    slow = slow_bound(mean, scale)
    torch.testing.assert_close(own, slow, rtol=1e-10, atol=1e-12)
    gradients = (torch.autograd.grad(value, mean)[0] for value in (own, slow))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_it_is_the_upper_bound_that_is_measured_afterwards():
    latent = codes(n=60)
    _, upper = kde_bounds(latent.mean, latent.scale)
    assert pairwise_bound(latent).item() == pytest.approx(upper.nats, rel=1e-10)


def test_it_lies_between_nothing_and_the_logarithm_of_the_batch():
    same = codes(spread=0.0)
    assert pairwise_bound(same).item() == pytest.approx(0, abs=1e-12)
    apart = codes(spread=1e4)
    assert pairwise_bound(apart).item() == pytest.approx(math.log(16), rel=1e-12)


def test_near_pairs_far_from_the_origin_keep_their_distance_in_float32():
    near = codes(spread=1e-2, dtype=torch.float32, scale=1e-2)
    shift = torch.tensor([[512.0, -512.0, 0.0]])
    moved = near._replace(mean=(near.mean + shift))
    expected = slow_bound(moved.mean.double(), 1e-2)  # of the numbers as they were stored
    assert pairwise_bound(moved).dtype == torch.float32
    assert pairwise_bound(moved).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("squared", [False, True])
def test_the_loss_is_that_of_the_equation(squared):
    model, (x, y) = make(), batch()
    with torch.no_grad():
        model.raw_variance.fill_(0.3)
    method = NIB(beta=0.5, squared=squared).double()
    torch.manual_seed(2)
    loss = method(model, x, y)
    torch.manual_seed(2)
    noise = torch.randn(16, 3, dtype=torch.float64)
    scale = torch.log1p(torch.exp(model.raw_variance)).sqrt()
    mean = model.encoder(x)
    nll = -torch.log_softmax(model.decoder(mean + scale * noise), 1)[range(16), y].mean()
    bound = slow_bound(mean, scale)
    by_hand = nll + 0.5 * (bound**2 if squared else bound)
    torch.testing.assert_close(loss, by_hand)
    parameters = list(model.parameters())
    for own, slow in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(by_hand, parameters), strict=True
    ):
        torch.testing.assert_close(own, slow)


def test_logs_show_the_bound_itself_also_where_its_square_is_descended():
    model, data = make(), batch()
    torch.manual_seed(0)
    values = NIB.as_coded(0.5).double().terms(model(data.x), data).values()
    assert values["pairwise_bound"].item() == pytest.approx(
        slow_bound(model.encoder(data.x), 1.0).item(), rel=1e-6
    )


def test_one_scale_may_be_learned_or_fixed():
    for latent, learned in (("shared", True), ("unit", False)):
        model, (x, y) = make(latent), batch()
        NIB(beta=0.5).double()(model, x, y).backward()
        assert hasattr(model, "raw_variance") == learned
        if learned:
            assert model.raw_variance.grad.abs() > 0
        torch.testing.assert_close(model(x).latent.scale, torch.ones(16, 3, dtype=torch.float64))


def test_more_weight_lets_less_through():
    bounds = []
    for beta in (0.0, 0.05, 5.0):
        torch.manual_seed(0)
        model, method, (x, y) = make("unit"), NIB(beta=beta).double(), batch(64)
        optimiser = torch.optim.Adam(model.parameters(), 0.05)
        for _ in range(150):
            optimiser.zero_grad()
            method(model, x, y).backward()
            optimiser.step()
        bounds.append(pairwise_bound(model(x).latent).item())
    assert bounds[0] > bounds[1] > 0.3 > bounds[2]


def test_it_can_be_vectorised():
    stack = torch.stack([codes().mean, 3 * codes().mean])
    latent = codes()
    found = vmap(lambda mean: pairwise_bound(latent._replace(mean=mean)))(stack)
    torch.testing.assert_close(found, torch.stack([slow_bound(mean, 0.7) for mean in stack]))


@pytest.mark.parametrize("latent", ["deterministic", "full"])
def test_a_latent_without_one_noise_for_all_is_refused(latent):
    width = 9 if latent == "full" else 3
    model = Bottleneck(nn.Linear(4, width), nn.Linear(3, 2), latent=latent).double()
    with pytest.raises(InputError, match="latent='shared'"):
        NIB(beta=0.1).double()(model, *batch())
    with pytest.raises(InputError, match="without noise"):
        pairwise_bound(codes()._replace(scale=None))


@pytest.mark.parametrize("raw", [-1000.0, -200.0, -90.0])
def test_noise_too_small_for_its_type_tells_all_codes_apart(raw):
    model = Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2), latent="shared")
    nn.init.constant_(model.raw_variance, raw)
    latent = model(torch.rand(8, 4)).latent
    bound = pairwise_bound(latent)
    bound.backward()
    assert bound.item() == pytest.approx(math.log(8), rel=1e-6)
    assert torch.isfinite(model.raw_variance.grad)
    assert not model.encoder.weight.grad.any()


def test_noise_that_depends_on_the_input_has_no_such_bound():
    data = Batch(*(part.float() if part.is_floating_point() else part for part in batch()))
    encoder = nn.Linear(4, 6)
    model = Bottleneck(encoder, nn.Linear(3, 2), latent="gaussian")
    with pytest.raises(InputError, match="noise that is the same for all inputs"):
        NIB(0.1)(model, *data)
    nn.init.zeros_(encoder.weight)  # the noise is the bias alone, and equal for all inputs
    assert NIB(0.1)(model, *data).isfinite()
