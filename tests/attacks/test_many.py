"""Attacks on many models at once: each result is what the model would have alone."""

import pytest
import torch
from torch import nn

from narrows.attacks import APGD, DDN, FGSM, PGD, DeepFool, attack_many
from narrows.attacks._best import Best, StackBest
from narrows.attacks.many import _groups, attack_each
from narrows.errors import InputError, NarrowsError
from narrows.models import NetworkConfig, as_classifier, build_network
from narrows.models import stack as stacks

ATTACKS = {
    "fgsm": FGSM(eps=0.1),
    "pgd": PGD(eps=0.1, steps=5, restarts=4, chunk=13),
    "pgd l2": PGD(eps=0.5, norm="l2", steps=5, restarts=3),
    "deepfool": DeepFool(steps=8),
    "deepfool linf": DeepFool(norm="linf", steps=8),
    "apgd": APGD(eps=0.1, steps=9, restarts=3),
}


def networks(count=5, latent="gaussian", dtype=torch.float64, **changes):
    """Untrained networks, some of which are much easier to fool than others."""
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        config = NetworkConfig(**{"encoder": [16], "bottleneck": 4, "decoder": [8]} | changes)
        model = build_network(config, (1, 8, 8), 10, latent).to(dtype)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + seed)
        models.append(as_classifier(model.eval(), mode="mean"))
    return models


def case(models, n=30, dtype=torch.float64):
    """Images, with labels that are right for many of them."""
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        return x, models[0](x).argmax(1)


def assert_same(together, alone, tolerance):
    assert len(together) == len(alone)
    for result, other in zip(together, alone, strict=True):
        torch.testing.assert_close(result.x_adv, other.x_adv, rtol=0, atol=tolerance)
        assert torch.equal(result.success, other.success)
        torch.testing.assert_close(result.distance, other.distance, rtol=tolerance, atol=tolerance)
        assert torch.equal(result.fooled_rate, other.fooled_rate)
        assert (result.forwards, result.backwards) == (other.forwards, other.backwards)


@pytest.fixture
def stacked(monkeypatch):
    """Count the passes of stacks, and fail where a test meant to stack and did not."""
    passes = []
    original = stacks.ModelStack.logits

    def counted(self, *arguments, **named):
        passes.append(len(self))
        return original(self, *arguments, **named)

    monkeypatch.setattr(stacks.ModelStack, "logits", counted)
    return passes


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_each_model_ends_as_it_would_alone(name, network, stacked):
    shape = {"name": network, "encoder": [4, 4]} if network == "cnn" else {}
    models = networks(**shape)
    x, y = case(models)
    together = attack_many(models, ATTACKS[name], x, y)
    assert len(stacked) > 3
    assert_same(together, [ATTACKS[name](model, x, y) for model in models], 1e-9)


def test_losses_aimed_at_classes_but_for_ties_that_rounding_decides(stacked):
    """Alone, too, such an image ends differently beside other images."""
    attack = APGD(eps=0.1, steps=9, restarts=1, loss="targeted_dlr", targets=2)
    models = networks()
    x, y = case(models)
    pairs = zip(attack_many(models, attack, x, y), [attack(m, x, y) for m in models], strict=True)
    assert sum(int((together.success != alone.success).sum()) for together, alone in pairs) <= 2
    assert stacked


@pytest.mark.parametrize("name", ["fgsm", "pgd", "deepfool"])
def test_targets_and_single_precision(name, stacked):
    models = networks(3, dtype=torch.float32)
    x, y = case(models, 20, torch.float32)
    target = (y + 1) % 10
    together = attack_many(models, ATTACKS[name], x, y.tolist(), target)
    assert stacked
    assert_same(together, [ATTACKS[name](model, x, y, target) for model in models], 1e-5)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "deepfool", "apgd"])
def test_each_model_has_images_of_its_own(name, stacked):
    models = networks(4)
    x, y = case(models)
    rows = [slice(0, 30), slice(5, 6), slice(2, 20), slice(29, 30)]
    cases = [(x[part], y[part], None) for part in rows]
    together = attack_each(models, ATTACKS[name], cases)
    assert stacked
    pairs = zip(models, cases, strict=True)
    assert_same(together, [ATTACKS[name](model, *own) for model, own in pairs], 1e-9)
    with pytest.raises(InputError, match="4 models and 3 cases"):
        attack_each(models, ATTACKS[name], cases[:3])


def test_more_models_than_fit_together(monkeypatch, stacked):
    monkeypatch.setitem(stacks._AT_ONCE, "cpu", 64 * 13 * 2)
    models = networks(5)
    x, y = case(models)
    together = attack_many(models, ATTACKS["pgd"], x, y)
    assert max(stacked) == 2
    assert_same(together, [ATTACKS["pgd"](model, x, y) for model in models], 1e-9)


@pytest.mark.parametrize(
    "models",
    [
        lambda: networks(2) + networks(1, encoder=[12]),
        lambda: [as_classifier(model.model) for model in networks(2)],
        lambda: [nn.Sequential(nn.Flatten(), Odd(), nn.Linear(64, 10).double()) for _ in range(2)],
    ],
    ids=["different layers", "drawn codes", "code that vmap refuses"],
)
def test_what_cannot_be_stacked_is_attacked_one_by_one(models):
    models = models()
    x, y = case(networks(1), 10)
    together = attack_many(models, ATTACKS["fgsm"], x, y)
    assert_same(together, [ATTACKS["fgsm"](model, x, y) for model in models], 0.0)


class Odd(nn.Module):
    def forward(self, x):
        return x + 0.0 if x.sum().item() > 0 else x


def test_an_attack_that_is_not_written_for_stacks_and_a_single_model(stacked):
    models = networks(2)
    x, y = case(models, 6)
    attack = DDN(steps=5)
    assert_same(attack_many(models, attack, x, y), [attack(model, x, y) for model in models], 0.0)
    assert_same(attack_many(models[:1], FGSM(eps=0.1), x, y), [FGSM(eps=0.1)(models[0], x, y)], 0.0)
    assert not stacked


def test_bad_input_is_refused_as_by_a_single_attack():
    models = networks(2)
    x, y = case(models, 6)
    with pytest.raises(InputError, match="model"):
        attack_many([], FGSM(eps=0.1), x, y)
    with pytest.raises(NarrowsError, match="Module"):
        attack_many([lambda x: x, lambda x: x], FGSM(eps=0.1), x, y)
    with pytest.raises(InputError, match=r"0, 1"):
        attack_many(models, FGSM(eps=0.1), 2 * x, y)
    with torch.no_grad():
        models[1].model.decoder[-1].bias.fill_(torch.nan)
    with pytest.raises(InputError, match="NaN"):
        attack_many(models, FGSM(eps=0.1), x, y)


def test_the_state_of_models_and_generators_is_left_alone():
    models = networks(3)
    x, y = case(models, 6)
    for model in models:
        model.train()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    attack_many(models, ATTACKS["pgd"], x, y)
    assert torch.equal(before, torch.get_rng_state())
    assert all(module.training for model in models for module in model.modules())
    assert all(p.requires_grad and p.grad is None for m in models for p in m.parameters())


def test_each_model_has_the_plan_that_it_has_alone():
    x, owner = torch.zeros(10, 2), torch.tensor([0] * 4 + [2] * 6)
    fooled = torch.tensor([True, True, True, False, False, False, True, False, False, False])
    stack, alone = StackBest(x, owner), [Best(x[:4]), Best(x[4:])]
    plans = [[], [], []]
    for plan, best in zip(plans, [stack, *alone], strict=True):
        for rows, attempt in best.attempts(5, 8):
            plan.append(list(zip(rows.tolist(), attempt.tolist(), strict=True)))
            best.fooled |= {4: fooled[:4], 6: fooled[4:], 10: fooled}[len(best.x)]
    first, second = plans[1], [[(row + 4, a) for row, a in step] for step in plans[2]]
    assert plans[0] == [
        [*(first[i] if i < len(first) else []), *(second[i] if i < len(second) else [])]
        for i in range(max(len(first), len(second)))
    ]


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([5, 0, 5], [(0, 10, [0, 2])]),
        ([0, 0], []),
        ([1000, 1, 1000], [(0, 1000, [0]), (1000, 1001, [1]), (1001, 2001, [2])]),
        ([100, 10, 90], [(0, 200, [0, 1, 2])]),
    ],
)
def test_models_with_few_images_are_padded_only_a_little(counts, groups):
    assert list(_groups(torch.tensor(counts))) == groups
