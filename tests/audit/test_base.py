"""The case: attacks judged on the model, run once, nothing left changed."""

import torch
from torch import nn

from narrows.attacks import FGSM
from narrows.audit import Case, audit
from narrows.audit.planted import NoisyInput, ScaledLogits
from scenarios_attacks import Lucky
from scenarios_audit import EPS, SMALL, Drifting, LateNoise, case_of, undefended


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


def test_a_case_without_right_answers_is_examined_all_the_same():
    model, x, _ = undefended()
    found = audit(
        model, x[:5], (model(x[:5]).argmax(1) + 1) % 10, eps=0.1, budget=SMALL, twin=model
    )
    assert found.verdict.reached == found.verdict.clean == 0


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


def test_an_entry_names_the_attack_and_the_view_that_is_not_the_model_itself():
    case = case_of()
    case.plain(case.pgd(steps=2, draws=3))
    case.run(FGSM(eps=EPS), "rescaled")
    names = [entry.name for entry in case.ledger.entries[1:]]
    assert names == ["PGD(steps=2, restarts=1, draws=3)", "FGSM() on rescaled"]


def test_an_attack_on_the_model_itself_costs_what_it_reports():
    case = case_of()
    attack = FGSM(eps=EPS)
    alone = attack(case.subject, case.x, case.y)
    case.plain(attack)
    entry = case.ledger.entries[-1]
    assert (entry.forwards, entry.backwards) == (alone.forwards, alone.backwards)


def test_a_search_that_is_repeated_is_confirmed_by_other_draws_each_time(monkeypatch):
    case, seeds = case_of(NoisyInput), []
    judge = case.judge

    def noted(x, y, seed=None):
        seeds.append(seed)
        return judge(x, y, seed)

    monkeypatch.setattr(case, "judge", noted)
    rows = torch.arange(len(case.x))
    far = case.plain(case.pgd(loss="margin")).x_adv
    seeds.clear()
    for _ in range(3):
        case.offer("again", far, rows)
    confirmed = [seed for seed in seeds if seed is not None]
    assert len(confirmed) == len(set(confirmed)) == 3
