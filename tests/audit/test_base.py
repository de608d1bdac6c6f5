"""The case: input refused by name, attacks judged on the model, run once, nothing left changed."""

import math

import pytest
import torch
from torch import nn

from narrows.attacks import FGSM, PGD
from narrows.audit import BUDGETS, Budget, Case, audit
from narrows.audit._claim import gray_radius
from narrows.audit.planted import NoisyInput, ScaledLogits
from narrows.errors import ConfigError, InputError, NarrowsError
from scenarios_attacks import Lucky
from scenarios_audit import EPS, SMALL, Drifting, LateNoise, Overwriting, case_of, undefended


class Broken(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10] * math.nan


class Integers(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10].round().long()


def classes(count):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, count))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: {"x": 255 * x}, "divide 0-255 images by 255"),
        (lambda x, y: {"x": x.to(torch.uint8)}, "floating point"),
        (lambda x, y: {"x": x[:0], "y": y[:0]}, "empty"),
        (lambda x, y: {"y": y[:3]}, "one of labels for each of 40 samples, got 3"),
        (lambda x, y: {"y": y.float()}, "must be integers"),
        (lambda x, y: {"y": y + 20}, "lie in 0..9"),
        (lambda x, y: {"eps": 8.0}, "divide by 255"),
        (lambda x, y: {"eps": 127.5, "norm": "l2"}, "at most 8 in L2.*divide by 255"),
        (lambda x, y: {"eps": 0.0}, "eps must be positive"),
        (lambda x, y: {"eps": math.nan}, "eps must"),
        (lambda x, y: {"norm": "l1"}, "norm must be"),
        (lambda x, y: {"budget": "huge"}, "unknown budget 'huge'"),
        (lambda x, y: {"claimed": 90}, "divide percent by 100"),
        (lambda x, y: {"model": Broken()}, "NaN or infinity for all 40 images"),
        (lambda x, y: {"model": Overwriting(undefended()[0])}, "overwrites the images"),
        (lambda x, y: {"model": Integers()}, "floating point logits, got torch.int64"),
        (lambda x, y: {"twin": classes(9)}, "twin must tell the same 10 classes apart.*has 9"),
        (lambda x, y: {"siblings": [classes(10), classes(11)]}, "sibling must tell the same 10"),
        (lambda x, y: {"siblings": [nn.Linear(3, 10)]}, "cannot be run on images"),
    ],
)
def test_bad_input_is_named_before_anything_runs(change, says):
    model, x, y = undefended()
    given = {"model": model, "x": x, "y": y, "eps": EPS, "budget": SMALL, **change(x, y)}
    with pytest.raises(NarrowsError, match=says):
        audit(given.pop("model"), given.pop("x"), given.pop("y"), **given)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        Budget(10, 0, 1, 1, 1, 1, 1)
    assert BUDGETS["fast"].with_images(7).images == 7


def test_an_attack_runs_once_and_is_entered_once():
    case = case_of()
    first = case.run(FGSM(eps=EPS))
    entries = len(case.ledger.entries)
    assert case.run(FGSM(eps=EPS)) is first
    assert len(case.ledger.entries) == entries == 2  # no attack, FGSM


def test_success_is_judged_on_the_model_not_on_the_view():
    case = case_of()
    torch.manual_seed(0)
    case._views["twin"] = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    result = case.run(case.pgd(), "twin")
    said = case.model(result.x_adv).argmax(1)
    assert torch.equal(result.success, said != case.y)
    assert case.seen[case.pgd(), "twin"] > result.success.double().mean()


def test_larger_radii_do_not_count():
    case = case_of()
    case.run(case.pgd(eps=0.5))
    assert len(case.ledger.entries) == 1
    assert case.ledger.robust_accuracy == case.clean.double().mean().item()


def test_what_is_offered_is_brought_into_the_ball():
    case = case_of(eps=0.05)
    rows = torch.arange(len(case.x))
    case.offer("far", case.x + torch.randn(case.x.shape), rows)
    assert (case.ledger.x_adv - case.x).abs().max() <= 0.05 + 1e-6
    assert case.ledger.x_adv.min() >= 0
    assert case.ledger.x_adv.max() <= 1
    wrong = case.model(case.ledger.x_adv).argmax(1) != case.y
    assert torch.equal(wrong, case.ledger.fooled)


def test_escalation_leaves_fooled_images_alone():
    case = case_of(ScaledLogits)
    assert case.escalate(case.pgd(loss="margin")) == case.clean.sum()
    entries = len(case.ledger.entries)
    assert case.escalate(case.pgd(restarts=9)) == 0
    assert len(case.ledger.entries) == entries


def test_luck_is_no_success():
    x, y = torch.full((30, 1, 2, 2), 0.5), torch.zeros(30, dtype=torch.int64)
    case = Case(Lucky(0.4), x, y, eps=0.1, budget=SMALL)
    rows = torch.arange(30)
    for _ in range(10):
        case.offer("again", x, rows)
    # A vote of 20 draws at .4 is lost with probability .13 to .24: once, but not twice in a row.
    assert case.ledger.robust_accuracy > 0.5


def test_nothing_is_left_changed():
    torch.manual_seed(5)
    model, x, y = undefended()
    defended = Drifting(nn.Sequential(NoisyInput(model), nn.Dropout())).train()
    defended.model[0].eval()
    before, rng, images = defended.passes.clone(), torch.get_rng_state(), x.clone()
    modes = [module.training for module in defended.modules()]
    audit(defended, x[:10], y[:10], eps=EPS, budget=SMALL.with_images(10), twin=model)
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(defended.passes, before)
    assert [module.training for module in defended.modules()] == modes
    assert torch.equal(x, images)


def test_gray_radius_reaches_every_gray_image():
    case = case_of()
    assert gray_radius(case) == 0.5
    l2 = case_of(norm="l2", eps=1.0)
    assert gray_radius(l2) == pytest.approx(0.5 * 64**0.5)
    assert (l2.x - 0.5).flatten(1).norm(dim=1).max() <= gray_radius(l2)


def test_a_case_without_right_answers_is_examined_all_the_same():
    model, x, y = undefended()
    found = audit(
        model, x[:5], (model(x[:5]).argmax(1) + 1) % 10, eps=0.1, budget=SMALL, twin=model
    )
    assert found.verdict.reached == found.verdict.clean == 0
    assert PGD(eps=0.1).eps == 0.1
    with pytest.raises(InputError, match="claimed"):
        audit(model, x, y, eps=0.1, claimed=-1)


def test_noise_that_is_seen_late_makes_the_case_stochastic():
    case = case_of(LateNoise)
    case.stochastic = False  # as if no probe had met it
    case.plain(case.pgd(loss="margin"))
    before = case.ledger.x_adv.clone()
    assert case.settle_noise()
    assert case.stochastic
    assert case.late_noise
    names = [entry.name for entry in case.ledger.entries]
    assert names == ["no attack", "attacks before noise was seen"]
    assert not case.settle_noise()  # it is known now
    again = case_of(LateNoise)
    again.stochastic = False
    again.witness(case.witnessed())
    assert again.stochastic
    assert (case.ledger.x_adv - before).abs().max() < 1e-6
    assert not case_of().settle_noise()
