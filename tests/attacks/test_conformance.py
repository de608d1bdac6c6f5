"""What holds for every attack; `ATTACKS` and the attributes of its classes say all about them."""

import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

import narrows.attacks
from narrows.attacks import (
    APGD,
    ATTACKS,
    FAB,
    FGSM,
    PGD,
    TGS,
    Adaptive,
    Attack,
    CarliniWagner,
    FixedEps,
    MinimalNorm,
)
from narrows.attacks import norms as geometry
from narrows.types import Norm
from scenarios_attacks import Counting, Lucky, NoisyInput, curved_case

RADII = {"l2": 3, "l1": 8, "l0": 20}  # in the place of a radius of 1 in Linf


def in_norm(attack: Attack, norm: Norm) -> Attack:
    """The attack in another norm than that of its example, at a radius that does about as much."""
    radius = {"eps": round(RADII[norm] * attack.eps, 9)} if isinstance(attack, FixedEps) else {}
    return replace(attack, norm=norm, **radius)


EXAMPLES = {name: kind.example() for name, kind in ATTACKS.items()}
IN_OTHER_NORM = {
    f"{name}-{norm}": in_norm(attack, norm)
    for name, attack in EXAMPLES.items()
    if isinstance(attack, FixedEps | MinimalNorm)
    for norm in attack.supported_norms
    if norm != attack.norm
}
# Further settings of some attacks; a new attack needs none.
VARIANTS = {
    "fgsm-margin": FGSM(eps=0.15, loss="margin"),
    "pgd-margin": PGD(eps=0.1, steps=5, restarts=3, loss="margin"),
    "pgd-dlr": PGD(eps=0.1, steps=5, restarts=3, loss="dlr"),
    "tgs-l2-iterative": TGS(norm="l2", eps=1.0, steps=5),
    "apgd-l2-dlr": APGD(norm="l2", eps=0.3, steps=10, restarts=2, loss="dlr"),
    "apgd-targeted": APGD(norm="l2", eps=0.3, steps=3, restarts=9, loss="targeted_dlr"),
    "apgd-distance": APGD(eps=0.1, steps=3, restarts=3, loss="targeted_dlr", order="distance"),
    "pgd-probability": PGD(eps=0.1, steps=5, restarts=3, loss="probability_margin"),
    "fab-targets": FAB(steps=5, restarts=1, targets=2),
    "carlini_wagner-fixed": CarliniWagner.fixed_c(10.0, steps=50),
    "adaptive-mean": Adaptive(norm="l2", eps=0.3, steps=5, restarts=3, mode="mean"),
}
ROWS = {**EXAMPLES, **IN_OTHER_NORM, **VARIANTS}
SEEDLESS = {
    name: replace(attack, restarts=1) if attack.randomness == "random starts" else attack
    for name, attack in ROWS.items()
    if attack.randomness in ("none", "random starts")
}
RANDOM = [name for name, attack in ROWS.items() if attack != SEEDLESS.get(name)]

every = pytest.mark.parametrize("attack", ROWS.values(), ids=ROWS.keys())


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_is_what_it_says(attack, dtype):
    model, x, y = curved_case(dtype=dtype)
    result = attack(model, x, y)
    model.eval()
    assert result.x_adv.shape == x.shape
    assert result.x_adv.dtype == dtype
    assert result.x_adv.min() >= 0
    assert result.x_adv.max() <= 1
    assert torch.equal(result.success, model(result.x_adv).argmax(1) != y)
    assert torch.equal(result.fooled_rate, result.success.double())
    size = geometry.size(result.x_adv - x, attack.norm)
    assert torch.equal(result.distance, size.where(result.success, torch.tensor(math.inf)))
    if isinstance(attack, FixedEps):
        assert size.max() <= attack.eps * (1 + 1e-5)
    assert result.robust_accuracy == pytest.approx(1 - result.success.double().mean().item())
    # The row must bite, or what is tested above is next to nothing.
    assert result.success[y == model(x).argmax(1)].sum() >= 5


@every
def test_misclassified_images_are_left_alone(attack):
    model, x, y = curved_case()
    result = attack(model, x, y)
    wrong = model.eval()(x).argmax(1) != y
    assert wrong.sum() == 5
    assert torch.equal(result.x_adv[wrong], x[wrong])
    assert result.success[wrong].all()
    assert (result.distance[wrong] == 0).all()


@every
def test_targeted_success_means_the_target(attack):
    model, x, y = curved_case()
    said = model.eval()(x).argmax(1)
    target = (said + 2) % 5
    target = torch.where(target == y, (target + 1) % 5, target)
    attack = replace(attack, eps=2 * attack.eps) if isinstance(attack, FixedEps) else attack
    result = attack(model, x, y, target)
    assert torch.equal(result.success, model(result.x_adv).argmax(1) == target)
    assert result.success.sum() >= 5


@every
def test_leaves_everything_as_it_was(attack):
    torch.manual_seed(123)
    model, x, y = curved_case()
    model.first.weight.requires_grad_(False)
    model.dropout.eval()
    model.last.bias.grad = torch.ones(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x_before, rng = x.clone(), torch.get_rng_state()
    result = attack(model, x.requires_grad_(), y)
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.children()] == [True, True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [False] + 5 * [True]
    assert [p.grad is not None for p in model.parameters()] == 5 * [False] + [True]
    assert torch.equal(model.last.bias.grad, torch.ones(5))
    assert torch.equal(x.detach(), x_before)
    assert x.grad is None
    assert not result.x_adv.requires_grad


@every
def test_counts_every_pass(attack):
    model, x, y = curved_case()
    model = Counting(model)
    result = attack(model, x, y)
    assert result.forwards == model.forwards
    assert result.backwards == model.backwards
    assert (result.backwards > 0) == attack.uses_gradients


@every
def test_same_seed_same_result_to_the_bit(attack):
    model, x, y = curved_case()
    torch.manual_seed(7)
    first = attack(model, x, y)
    torch.manual_seed(8)
    again = attack(model, x, y)
    assert torch.equal(first.x_adv, again.x_adv)
    assert (first.forwards, first.backwards) == (again.forwards, again.backwards)


class Recording(nn.Module):
    """Keeps the sum of each batch of images that it is shown."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sums: list[float] = []

    def forward(self, x):
        self.sums.append(x.detach().double().sum().item())
        return self.model(x)


def images_shown(attack: Attack, seed: int) -> list[float]:
    model, x, y = curved_case()
    recording = Recording(model)
    replace(attack, seed=seed)(recording, x, y)
    return recording.sums


@pytest.mark.parametrize("name", RANDOM)
def test_another_seed_shows_the_model_other_images(name):
    assert images_shown(ROWS[name], 0) != images_shown(ROWS[name], 1)


@pytest.mark.parametrize("name", SEEDLESS)
def test_without_random_starts_the_seed_makes_no_difference(name):
    assert images_shown(SEEDLESS[name], 0) == images_shown(SEEDLESS[name], 1)


@pytest.mark.parametrize("name", SEEDLESS)
def test_chunks_make_no_difference(name):
    model, x, y = curved_case(dtype=torch.float64)
    attack = SEEDLESS[name]
    whole, parts = (replace(attack, chunk=chunk)(model, x, y) for chunk in (512, 7))
    assert torch.equal(parts.success, whole.success)
    # Inside a ball, which of several targets succeeds first depends on how many fit a chunk.
    if attack.randomness == "none" or isinstance(attack, MinimalNorm):
        torch.testing.assert_close(parts.x_adv, whole.x_adv)
        assert parts.backwards == whole.backwards


@every
def test_repr_can_be_evaluated(attack):
    names = {**vars(narrows.attacks), **vars(sys.modules[type(attack).__module__])}
    assert eval(repr(attack), names) == attack


@every
def test_works_in_inference_mode(attack):
    model, x, y = curved_case()
    with torch.inference_mode():
        inside = attack(model, x + 0, y + 0)
    assert torch.equal(inside.x_adv, attack(model, x, y).x_adv)


@every
def test_lucky_draws_are_no_success(attack):
    x, y = torch.full((50, 1, 2, 2), 0.5), torch.zeros(50, dtype=torch.int64)
    result = attack(Lucky(0.2), x, y)
    assert not result.success.any()
    # 50 images of 100 draws each: standard error .0057 about a mean of .2
    assert result.fooled_rate.mean().item() == pytest.approx(0.2, abs=0.025)


@every
def test_stochastic_success_is_decided_on_fresh_draws(attack):
    torch.manual_seed(0)
    model, x, y = curved_case()
    noisy = NoisyInput(model.eval(), 0.05)
    result = replace(attack, draws=4)(noisy, x, y)
    attacked = result.distance > 0
    with torch.no_grad():
        drawn = torch.stack([noisy(result.x_adv) for _ in range(1000)])
    rate = (drawn.argmax(-1) != y).double().mean(0)
    # Five standard errors of the 100 draws that the verdict was taken on.
    assert (result.fooled_rate - rate).abs().max() < 0.25
    vote = drawn.softmax(-1).mean(0)
    others = vote.scatter(1, y[:, None], 0).amax(1)
    clear = attacked & ((others - vote.gather(1, y[:, None]).squeeze(1)).abs() > 0.1)
    assert torch.equal((vote.argmax(1) != y)[clear], result.success[clear])
    # Those for the smallest perturbation stop at the boundary, where nothing is clear.
    assert clear.sum() >= 5 or isinstance(attack, MinimalNorm)


@every
def test_accepts_any_integer_labels_and_shapes(attack):
    torch.manual_seed(0)
    flat = nn.Linear(6, 3)
    x = torch.rand(9, 6)
    y = flat(x).argmax(1)
    expected = attack(flat, x, y).x_adv
    assert torch.equal(attack(flat, x, y.to(torch.uint8)).x_adv, expected)
