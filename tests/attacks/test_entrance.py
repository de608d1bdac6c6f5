import math

import pytest
import torch
from torch import nn

from narrows.attacks import FAB, FGSM, PGD, DeepFool
from narrows.attacks.entrance import (
    check_case,
    check_reach,
    differs,
    enter,
    first_pass,
    is_stochastic,
    probes,
)
from narrows.attacks.norms import size
from narrows.errors import ConfigError, InputError
from scenarios_attacks import Counting, NoisyInput, curved_case, linear_case


class Sometimes(nn.Module):
    """A classifier of a linear case with noise on some images only."""

    def __init__(self, model, where) -> None:
        super().__init__()
        self.model, self.where = model, where

    def forward(self, x):
        noise = 5 * torch.randn(len(x), 1) * torch.tensor([[1.0, -1.0]])
        return self.model(x) + noise * self.where(x).to(x.dtype)[:, None]


def off_the_data(x):
    return ((x * 255 - (x * 255).round()).abs() > 1e-3).flatten(1).any(1)


def dark(x):
    return x.flatten(1).mean(1) < 0.47


@pytest.mark.parametrize("where", [off_the_data, dark])
@pytest.mark.parametrize("attack", [FGSM(eps=0.01), DeepFool(norm="linf"), FAB(eps=0.01, steps=5)])
def test_noise_is_found_wherever_it_is_and_in_any_order(where, attack):
    model, x, y = linear_case(2, 60)
    x = (255 * x).round() / 255
    order = x.flatten(1).mean(1).argsort(descending=True)
    x = x[order]  # the dark images come last
    y = model(x).argmax(1)
    noisy = Sometimes(model, where)
    with torch.no_grad():
        assert is_stochastic(noisy.eval(), x)
        assert is_stochastic(noisy, x.flip(0))
    result = attack(noisy, x, y)
    rate = result.fooled_rate
    assert ((rate > 0) & (rate < 1)).any()  # judged on many draws
    votes = result.fooled_rate[result.success & (result.distance > 0)]
    assert (votes > 0.4).all()


def test_noise_that_only_the_attack_meets_is_found_at_the_end():
    model, x, y = linear_case(2, 60)
    found = PGD(eps=0.02, restarts=1)(model, x, y).x_adv
    noisy = Sometimes(model, lambda z: torch.cdist(z.flatten(1), found.flatten(1)).amin(1) < 1e-6)
    with torch.no_grad():
        assert not is_stochastic(noisy.eval(), x)
    counting = Counting(noisy)
    result = PGD(eps=0.02, restarts=1)(counting, x, y)
    assert ((result.fooled_rate > 0) & (result.fooled_rate < 1)).any()
    assert (result.forwards, result.backwards) == (counting.forwards, counting.backwards)


def test_what_is_known_of_a_model_after_the_first_passes():
    model, x, _ = curved_case()
    counting = Counting(model.eval())
    with torch.no_grad():
        victim = enter(counting, x)
        noisy = enter(NoisyInput(model, 0.1), x)
    assert (victim.stochastic, victim.classes) == (False, 5)
    assert victim.forwards == counting.forwards
    assert noisy.stochastic


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.3), ("l2", None)])
def test_probes_do_not_depend_on_the_order_of_images_and_stay_in_the_ball(norm, eps):
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    batch = probes(x, eps, norm)
    clean, moved = batch.chunk(2)
    assert len(clean) == 8
    assert torch.equal(batch, probes(x.flip(0), eps, norm))
    assert all((x == image).flatten(1).all(1).any() for image in clean)
    radius = 0.1 * 4 if eps is None else eps
    assert 0 < size(moved - clean, norm).max() <= radius * (1 + 1e-5)
    assert (moved.min() >= 0) & (moved.max() <= 1)
    assert len(probes(x[:3])) == 6


def test_a_case_is_converted_once():
    images, labels, targets = check_case([[0.5, 0.25]], [1], [0], nn.Linear(2, 2).double())
    assert (images.dtype, labels.dtype) == (torch.float64, torch.int64)
    assert targets is not None
    assert targets.tolist() == [0]
    with pytest.raises(InputError, match="1 of 1 do not"):
        check_case([[0.5, 0.25]], [1], [1])


def test_an_l2_radius_may_reach_as_far_as_the_box_and_no_farther():
    x = torch.zeros(2, 3, 4)
    check_reach(math.sqrt(12), "l2", x)
    check_reach(1.0, "linf", x)
    with pytest.raises(ConfigError, match=r"at most 3\.464 in L2"):
        check_reach(3.5, "l2", x)


def test_the_type_of_the_weights_is_tried_after_that_of_the_images():
    model, x = nn.Linear(3, 2).double(), torch.rand(4, 3)
    with torch.no_grad():
        batch, logits, passes = first_pass(model, x, x)
        assert (batch.dtype, passes) == (torch.float64, 2)
        assert torch.equal(logits, model(x.double()))
        assert not differs(model, batch)
    with pytest.raises(InputError, match="cannot be run on images"):
        first_pass(nn.Linear(7, 2), x, x)
