from dataclasses import replace
from pathlib import Path

import pytest
import torch

from narrows.attacks import (
    APGD,
    ATTACKS,
    FAB,
    FGSM,
    PGD,
    Ensemble,
    MinimalEps,
    MultiTargeted,
    SparseRS,
    Square,
    reevaluation,
    standard,
)
from narrows.errors import ConfigError, InputError
from scenarios_attacks import Counting, Lucky, curved_case, exact_radius, linear_case

SMALL = Ensemble(
    (
        ("fgsm", FGSM(eps=0.1)),
        ("pgd", PGD(eps=0.1, steps=5, restarts=2)),
        ("square", Square(eps=0.1, queries=20)),
    )
)


def test_is_the_worst_of_its_attacks():
    model, x, y = curved_case()
    ledger = SMALL.run(model, x, y)
    fgsm = FGSM(eps=0.1)(model, x, y)
    assert ledger.entries[0].fooled == fgsm.success.sum()
    assert [entry.attacked for entry in ledger.entries][1] == int((~fgsm.success).sum())
    alone = torch.stack([attack(model, x, y).success for _, attack in SMALL.attacks])
    assert ledger.fooled.sum() >= alone.any(0).sum() - 1  # Square's random numbers differ
    model.eval()
    assert torch.equal(ledger.fooled, model(ledger.x_adv).argmax(1) != y)


def test_images_that_are_fooled_leave_and_every_pass_is_counted():
    model, x, y = curved_case()
    model = Counting(model)
    result = SMALL(model, x, y)
    assert (result.forwards, result.backwards) == (model.forwards, model.backwards)


def test_goes_on_where_it_was_broken_off(tmp_path: Path):
    model, x, y = curved_case()
    path = tmp_path / "ledger.safetensors"

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(name, done, total):
        if name == "square":
            raise Stopped

    with pytest.raises(Stopped):
        SMALL.run(model, x, y, path=path, progress=stop)
    counting, told = Counting(model), []
    again = SMALL.run(model, x, y, path=path, progress=lambda *now: told.append(now))
    whole = SMALL.run(model, x, y)
    assert again.entries == whole.entries
    assert torch.equal(again.x_adv, whole.x_adv)
    assert told == [("fgsm", 0, 3), ("pgd", 1, 3), ("square", 2, 3), ("", 3, 3)]
    with pytest.raises(InputError, match="other images"):
        SMALL.run(counting, x, y, path=path)
    before = again.forwards
    assert SMALL.run(model, x, y, ledger=again).forwards == before


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.08), ("l1", 0.2)])
def test_standard_finds_everything_in_reach_of_a_linear_model(norm, eps):
    model, x, y = linear_case(10, count=60, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    ensemble = standard(norm, eps=eps)
    short = Ensemble([*ensemble.attacks[:3], ("square", Square(norm=norm, eps=eps, queries=50))])
    result = short(model, x, y)
    assert not result.success[radius > eps].any()
    assert result.success[radius < 0.99 * eps].all()
    assert 10 < result.success.sum() < 60


def test_the_papers_ensembles_are_what_they_say():
    kinds = [
        (type(attack), attack.norm, attack.seed)
        for _, attack in standard("l2", eps=1, seed=3).attacks
    ]
    assert kinds == [(kind, "l2", 3) for kind in (APGD, APGD, FAB, Square)]
    kinds = [type(attack) for _, attack in standard("l0", eps=3).attacks]
    assert kinds == [PGD, MultiTargeted, SparseRS]
    first, targeted = (attack for _, attack in standard("l1", eps=3).attacks[:2])
    assert (first.restarts, targeted.targets) == (5, 5)
    ce, dlr, targets = (attack for _, attack in reevaluation(eps=0.1, draws=7).attacks)
    assert ce == APGD(eps=0.1, steps=100, restarts=5, draws=7)
    assert dlr == APGD(eps=0.1, steps=100, restarts=5, loss="dlr", draws=7)
    assert targets == MultiTargeted(eps=0.1, steps=200, restarts=10, draws=7)


def test_lucky_draws_are_no_success():
    x, y = torch.full((20, 1, 2, 2), 0.5), torch.zeros(20, dtype=torch.int64)
    ledger = SMALL.run(Lucky(0.2), x, y)
    assert ledger.robust_accuracy == 1
    # The worst of three estimates on 100 draws each lies above .2, but not by much.
    assert 0.7 < ledger.single_draw_accuracy < 0.8


def test_refuses_what_means_nothing():
    for attacks, says in [
        ((), "at least one attack"),
        ((("a", FGSM(eps=0.1)), ("a", PGD(eps=0.1))), "different names"),
        (
            (("a", FGSM(eps=0.1)), ("b", PGD(norm="l2", eps=0.1))),
            r"the same norm, got \['l2', 'linf'\]",
        ),
    ]:
        with pytest.raises(ConfigError, match=says):
            Ensemble(attacks)


def quick(attacks, **settings):
    """The ensemble with fewer steps and queries."""
    fewer = {"steps": 10, "queries": 50}
    return Ensemble(
        [
            (
                name,
                replace(
                    attack, **{k: v for k, v in fewer.items() if hasattr(attack, k)}, **settings
                ),
            )
            for name, attack in attacks.attacks
        ]
    )


@pytest.mark.parametrize("make", [standard, reevaluation])
def test_an_ensemble_heads_for_targets(make):
    model, x, y = linear_case(5, 40)
    target = (y + 1 + torch.arange(40) % 4) % 5
    ensemble = quick(make(eps=0.08))
    result = ensemble(model, x, y, target)
    assert torch.equal(result.success, model(result.x_adv).argmax(1) == target)
    assert result.success.sum() > 10
    alone = torch.stack([attack(model, x, y, target).success for _, attack in ensemble.attacks])
    assert result.success.sum() >= alone.any(0).sum() - 1
    with pytest.raises(InputError, match="must differ from the label"):
        ensemble(model, x, y, y)


@pytest.mark.parametrize("name", ATTACKS)
def test_eps_of_zero_is_the_clean_accuracy(name):
    model, x, y = curved_case()
    y[:3] = (y[:3] + 1) % 5
    clean = (model.eval()(x).argmax(1) == y).double().mean().item()
    attack = ATTACKS[name].example()
    if not hasattr(attack, "eps"):
        pytest.skip("has no radius")
    result = replace(attack, eps=0)(model, x, y)
    assert result.robust_accuracy == pytest.approx(clean)
    assert torch.equal(result.x_adv, x)
    assert (result.distance[result.success] == 0).all()


@pytest.mark.parametrize("make", [standard, reevaluation])
def test_an_ensemble_at_eps_of_zero_is_the_clean_accuracy(make):
    model, x, y = curved_case()
    clean = (model.eval()(x).argmax(1) == y).double().mean().item()
    assert make(eps=0)(model, x, y).robust_accuracy == pytest.approx(clean)
    if make is standard:
        least = MinimalEps(attack=PGD(eps=0.0))(model, x, y)
        assert least.robust_accuracy == pytest.approx(clean)


class Wavering(torch.nn.Module):
    """Three classes whose lead is small beside the noise, however the image is changed a little."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 3)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            self.layer.weight.copy_(0.5 * torch.randn(3, 12, generator=generator))
            self.layer.bias.zero_()

    def forward(self, x):
        return self.layer(x) + torch.randn(len(x), 3)


def test_the_worst_of_several_votes_is_judged_once_more():
    x = torch.rand(60, 12, generator=torch.Generator().manual_seed(3))
    model = Wavering()
    # Noise of one size in every logit: the largest expected logit is the expected vote.
    first, second = model.layer(x).topk(2).values.unbind(1)
    x = x[first - second > 0.15]
    y = model.layer(x).argmax(1)
    ensemble = quick(standard(eps=1e-6), verify_draws=50)
    votes = torch.stack([model(x) for _ in range(500)]).softmax(-1)
    wrong = votes.view(10, 50, len(x), 3).mean(1).argmax(-1) != y
    assert wrong.any(0).sum() >= 4  # the worst of several votes is wrong about some
    for seed in range(2):
        assert quick(ensemble, seed=seed)(model, x, y).success.sum() <= 1
    assert (
        MinimalEps(attack=PGD(eps=1e-6, steps=2, restarts=1), levels=2)(model, x, y).success.sum()
        <= 3
    )


def test_a_path_may_be_text(tmp_path):
    model, x, y = curved_case()
    first = SMALL.run(model, x, y, path=f"{tmp_path}/ledger.safetensors")
    assert SMALL.run(model, x, y, path=f"{tmp_path}/ledger.safetensors").entries == first.entries
    for path in (3, "", b"ledger"):
        with pytest.raises(ConfigError, match="path must be a path"):
            SMALL.run(model, x, y, path=path)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("item", ["pgd", ("pgd", "pgd"), ("pgd", FGSM), FGSM(eps=0.1)])
def test_an_ensemble_takes_pairs(item):
    with pytest.raises(ConfigError, match="takes pairs of a name and an attack"):
        Ensemble([item])
