"""Attacks by name, and the report that is kept of them."""

from dataclasses import replace

import pytest
from torch import nn

from narrows.attacks import ATTACKS, FGSM, PGD, Adaptive, DeepFool, FixedEps
from narrows.errors import ConfigError, InputError, NarrowsError, StoreError
from narrows.experiments.attacking import AttackReport, attack_target, build_attack
from narrows.experiments.targets import load_target, member_target
from narrows.models import as_classifier
from narrows.runs import Progress
from narrows.runs.files import read_json

PROGRESS = Progress()


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "backend"])
def test_every_attack_can_be_named(name):
    overrides = ["objective=rate"] if name == "adaptive" else []
    kind = ATTACKS[name]
    eps = (0.1 if "linf" in kind.supported_norms else 3) if issubclass(kind, FixedEps) else None
    ((given, attack),) = build_attack(name, eps, None, overrides).attacks
    assert given == name
    assert isinstance(attack, kind)
    assert getattr(attack, "eps", None) == eps


def test_ensembles_can_be_named_and_share_their_settings():
    for name in ("standard", "reevaluation"):
        ensemble = build_attack(name, 0.1, None, ["draws=3", "seed=5"])
        assert len(ensemble.attacks) > 1
        assert {(attack.draws, attack.seed) for _, attack in ensemble.attacks} == {(3, 5)}


def test_arguments_are_those_that_were_given():
    ((_, pgd),) = build_attack("pgd", 0.1, "l2", ["steps=3", "step_size=0.5", "chunk=7"]).attacks
    assert isinstance(pgd, PGD)
    assert (pgd.norm, pgd.eps, pgd.steps, pgd.step_size, pgd.chunk) == ("l2", 0.1, 3, 0.5, 7)
    ((_, deepfool),) = build_attack("deepfool", None, None).attacks
    assert isinstance(deepfool, DeepFool)
    ((_, adaptive),) = build_attack("adaptive", 0.1, None, ["objective=rate"]).attacks
    assert isinstance(adaptive, Adaptive)


@pytest.mark.parametrize(
    ("name", "eps", "norm", "overrides", "message"),
    [
        ("pgdd", 0.1, None, [], "unknown attack 'pgdd'; did you mean 'pgd'?"),
        ("backend", 0.1, None, [], "unknown attack 'backend'"),
        ("pgd", None, None, [], "pgd searches within a radius; give it with --eps, like --eps 0.1"),
        ("standard", None, None, [], "standard searches within a radius"),
        ("deepfool", 0.1, None, [], "unknown option of deepfool 'eps'"),
        ("pgd", 0.1, None, ["eps=0.2"], "eps is given twice"),
        ("pgd", 0.1, None, ["eps=0.1"], "eps is given twice"),
        ("pgd", 0.1, "l2", ["norm=linf"], "norm is given twice"),
        ("standard", 0.1, None, ["eps=0.2"], "eps is given twice"),
        ("pgd", 0.1, None, ["loss=.nan"], "loss must be text, got nan"),
        ("pgd", 0.1, None, ["draws='3'"], "draws must be a whole number, got '3'"),
        ("pgd", 0.1, None, ["verify_draws=9223372036854775807"], "at most 1,000,000"),
        ("pgd", 0.1, "l3", [], "norm must be 'linf' or 'l2' or 'l1' or 'l0', got 'l3'"),
        ("pgd", 0.1, None, ["stepss=3"], "unknown option of pgd 'stepss'; did you mean 'steps'?"),
        ("pgd", 0.1, None, ["steps=many"], "steps must be a whole number, got 'many'"),
        ("pgd", 0.1, None, ["steps=0"], "steps"),
        ("standard", 0.1, None, ["steps=3"], "unknown option of standard 'steps'"),
        ("pgd", 0.1, None, ["steps=${nope}"], "steps: Interpolation key 'nope' not found"),
        ("pgd", 0.1, None, ["steps=???"], "steps: Missing mandatory value"),
        ("pgd", 0.1, None, ["steps"], "expected KEY=VALUE"),
        ("pgd", float("nan"), None, [], "eps"),
    ],
)
def test_what_is_no_attack_is_named_in_one_line(name, eps, norm, overrides, message):
    with pytest.raises(NarrowsError) as raised:
        build_attack(name, eps, norm, overrides)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def target(small_run):
    return load_target(str(small_run.path), method="cross_entropy")


def test_the_report_is_the_stored_one(target, tmp_path):
    attack = build_attack("fgsm", 0.2, None)
    report, folder = attack_target(target, "fgsm", attack, "sample", 15, tmp_path, Progress())
    assert folder == tmp_path
    assert read_json(tmp_path / "record.json", "report of an attack", AttackReport) == report
    request = report.request
    assert (request.name, request.data, request.attack) == (target.name, "digits", "fgsm")
    assert (request.images, request.device, request.settings) == (15, "cpu", [repr(FGSM(eps=0.2))])
    assert (report.norm, report.eps) == ("linf", 0.2)
    assert report.robustbench.eps == "0.2"
    assert report.robustbench.autoattack_acc == f"{100 * report.robust_accuracy:.2f}"
    (entry,) = report.attacks
    assert report.robust_accuracy == entry.robust_accuracy == 1 - entry.fooled / 15
    low, high = report.interval
    assert low <= report.robust_accuracy <= high
    # Without noise, new draws say what the first ones did.
    assert report.replayed_vote == report.replayed_single_draw == report.robust_accuracy
    again, _ = attack_target(target, "fgsm", attack, "sample", 15, tmp_path, Progress())
    assert again == report


def test_the_mode_decides_what_is_attacked(small_run, tmp_path):
    noisy = load_target(str(small_run.path), method="vib", beta=1.0, seed=0)
    attack = build_attack("fgsm", 0.1, None, ["verify_draws=7", "seed=3"])
    reports = {}
    for mode in ("mean", "sample"):
        folder = tmp_path / mode
        reports[mode], _ = attack_target(noisy, "fgsm", attack, mode, 12, folder, Progress())
        assert reports[mode].request.mode == mode
        assert reports[mode].robustbench.noise.mode == mode
        assert reports[mode].verify_draws == reports[mode].robustbench.noise.verify_draws == 7
    mean = as_classifier(noisy.model, mode="mean")
    x, y = noisy.test.batch(slice(0, 12))
    clean = (mean(x).argmax(1) == y).double().mean().item()
    assert reports["mean"].clean_accuracy == pytest.approx(clean)
    # At its mean the model draws nothing: a single draw is the vote.
    assert reports["mean"].single_draw_accuracy == reports["mean"].robust_accuracy
    # A drawn model is judged again on other draws, so the two need not agree.
    assert 0 <= reports["sample"].replayed_single_draw <= 1


def test_a_model_that_returns_no_logits_is_refused(target):
    class Scores(nn.Module):
        def forward(self, x):
            return x.flatten(1).sum(1)

    broken = replace(target, model=Scores())
    with pytest.raises(InputError, match="must return logits"):
        attack_target(broken, "fgsm", build_attack("fgsm", 0.1, None), "mean", 4, None, Progress())


def test_another_request_does_not_go_into_the_folder(target, tmp_path):
    for eps in (0.2, 0.1):
        attack = build_attack("fgsm", eps, None)
        if eps == 0.2:
            attack_target(target, "fgsm", attack, "mean", 5, tmp_path, Progress())
        else:
            with pytest.raises(StoreError, match="the result of another request"):
                attack_target(target, "fgsm", attack, "mean", 5, tmp_path, Progress())


def test_a_smallest_perturbation_has_no_radius(target, tmp_path):
    attack = build_attack("deepfool", None, None)
    report, _ = attack_target(target, "deepfool", attack, "mean", 10, tmp_path, Progress())
    assert (report.eps, report.norm) == (None, "l2")
    assert report.robustbench.eps == "inf"
    assert report.median_distance is not None
    assert report.robust_accuracy == 1 - report.attacks[0].fooled / 10


def test_the_errors_are_of_one_family():
    with pytest.raises(ConfigError):
        build_attack("nothing", 0.1, None)


def test_the_training_loss_of_a_run_is_an_objective(small_run, tmp_path):
    member = small_run.member("vib", 0.1, 0)
    attack = build_attack("adaptive", 0.1, None, ["objective=method", "steps=2", "restarts=1"])
    target = member_target(small_run, member)
    report, _ = attack_target(target, "adaptive", attack, "mean", 5, tmp_path / "a", PROGRESS)
    assert "objective=TrainingLoss(method=VIB(beta=0.1" in report.request.settings[0]


def test_the_training_loss_of_another_model_is_unknown(small_run):
    target = replace(member_target(small_run, small_run.member("vib", 0.1, 0)), run=None)
    attack = build_attack("adaptive", 0.1, None, ["objective=method"])
    with pytest.raises(ConfigError, match="objective=method is the training loss of a model in a"):
        attack_target(target, "adaptive", attack, "mean", 5, None, PROGRESS)
