"""Attacks on the models of a finished run, stored model by model."""

import pytest

from narrows.attacks import PGD
from narrows.errors import ConfigError
from narrows.experiments import member_attacks
from narrows.experiments.member_attacks import attack_run, plan_attacks, read_attacks
from narrows.models import as_classifier
from scenarios_runs import StoppedError, copied, stop_after

SETTINGS = {"pgd": {"eps": [0.05, 0.1], "steps": 3, "restarts": 2, "images": 15}}


def test_each_model_has_what_the_attack_leaves_of_it(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    done = attack_run(run, plan_attacks(SETTINGS))
    assert [row.member for row in done] == 2 * run.members()
    assert [row.record.eps for row in done] == [0.05] * len(run.members()) + [0.1] * len(
        run.members()
    )
    x, y = run.splits.test.batch(slice(0, 15))
    for row in done[: len(run.members())]:
        victim = as_classifier(run.model(row.member), mode="mean")
        alone = PGD(eps=0.05, steps=3, restarts=2)(victim, x, y)
        assert row.record.accuracy == alone.robust_accuracy
        assert (row.record.forwards, row.record.images) == (alone.forwards, 15)
    plans = [plan for plan, _ in plan_attacks(SETTINGS)]
    assert read_attacks(run, plans) == done


def test_it_continues_model_by_model(small_run, tmp_path, monkeypatch):
    run = copied(small_run, tmp_path)
    monkeypatch.setattr(member_attacks, "models_at_once", lambda *_: 1)
    original, calls = member_attacks.attack_many, stop_after(2)

    def interrupted(*arguments):
        next(calls)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(member_attacks, "attack_many", interrupted)
        with pytest.raises(StoppedError):
            attack_run(run, plan_attacks(SETTINGS))
    assert len(list((run.path / "attacks").rglob("*.json"))) == 2
    counted = []

    def count(models, *arguments):
        counted.append(len(models))
        return original(models, *arguments)

    monkeypatch.setattr(member_attacks, "attack_many", count)
    assert len(attack_run(run, plan_attacks(SETTINGS))) == 2 * len(run.members())
    assert sum(counted) == 2 * len(run.members()) - 2
    attack_run(run, plan_attacks(SETTINGS))
    assert sum(counted) == 2 * len(run.members()) - 2


def test_a_model_is_attacked_in_the_stack_that_it_had_before_the_interruption(
    small_run, tmp_path, monkeypatch
):
    run, plans = copied(small_run, tmp_path), plan_attacks(SETTINGS)
    before = attack_run(run, plans)
    paths = sorted((run.path / plans[0][0].folder).iterdir())
    paths[1].unlink()
    sizes, original = [], member_attacks.attack_many

    def noted(models, *arguments):
        sizes.append(len(models))
        return original(models, *arguments)

    monkeypatch.setattr(member_attacks, "attack_many", noted)
    assert attack_run(run, plans) == before
    assert sizes == [len(run.members([before[1].member.method]))]


def test_drawn_codes_and_attacks_without_a_radius(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    settings = {
        "fgsm": {"eps": 0.1, "mode": "sample", "images": 4, "verify_draws": 3},
        "deepfool": {"steps": 2, "images": 4},
    }
    rows = attack_run(run, plan_attacks(settings))
    assert {row.record.mode for row in rows} == {"sample", "mean"}
    assert all(row.record.accuracy is None for row in rows if row.plan.name == "deepfool")
    assert attack_run(run, []) == []


def test_what_no_attack_is():
    with pytest.raises(ConfigError, match="backend"):
        plan_attacks({"backend": {}})
