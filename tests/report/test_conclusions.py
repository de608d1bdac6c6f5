"""Each sentence says what a reader asks first, with the run's own numbers."""

import pytest

from narrows.report.conclusions import audits_of, conclusions
from narrows.runs import EvaluateConfig
from narrows.runs.files import write_json
from scenarios_records import FakeRun, audit, record
from scenarios_runs import copied

CURVE = {1.0: (0.5, 0.5), 0.1: (2.5, 2.5), 0.01: (4.5, 2.7), 0.001: (6.5, 2.8)}
EPS = EvaluateConfig(eps=[0.1])
BOUND = (
    "FGSM and PGD give upper bounds of the robust accuracy, because a stronger attack can only "
    "lower them, and neither of the two notices a gradient that misleads it."
)


def swept(curve=CURVE, seeds=(0, 1), best=0.01, **options):
    return [
        record(beta, seed, place=place, validation=0.95 if beta == best else 0.9, **options)
        for beta, place in curve.items()
        for seed in seeds
    ]


def test_the_first_sentence_says_which_beta_and_why():
    (text,) = conclusions(FakeRun(swept()))
    assert text == (
        "vib: beta = 0.01 has the highest validation accuracy. There 91.0 ± 1.4 % of the test "
        "inputs are classified correctly from a code with I(X;Z) = 6.5 bits. The knee of its IB "
        "curve lies at beta = 0.1, with 91.0 ± 1.4 % from a code with I(X;Z) = 3.6 bits."
    )


def test_a_knee_at_the_chosen_beta_is_named_once():
    (text,) = conclusions(FakeRun(swept(best=0.1)))
    assert text.endswith("I(X;Z) = 3.6 bits. The knee of its IB curve lies there too.")


def test_the_interval_of_the_knee_is_there_where_seeds_differ():
    other = {1.0: (0.5, 0.5), 0.1: (2.5, 1.0), 0.01: (4.5, 2.75), 0.001: (6.5, 2.8)}
    (text,) = conclusions(FakeRun([*swept(), *swept(other, seeds=(2, 3))]))
    assert "(from 0.01 to 0.1, depending on the seeds)" in text


def test_without_a_knee_the_reason_is_there():
    line = {beta: (rate, 0.5 + 0.4 * (rate - 0.5)) for beta, (rate, _) in CURVE.items()}
    (text,) = conclusions(FakeRun(swept(line)))
    assert " Its IB curve has no clear knee: the curve bends too little" in text


def test_a_method_with_one_beta_has_nothing_to_choose():
    assert conclusions(FakeRun([record(0.0, method="cross_entropy")])) == [
        "cross_entropy classifies 90.0 % of the test inputs correctly."
    ]
    assert conclusions(FakeRun([record(0.1, place=None)])) == [
        "vib (beta = 0.1) classifies 90.0 % of the test inputs correctly."
    ]


def attacked(plain, ours):
    records = [record(0.0, method="cross_entropy", left={0.1: (0.5, plain[0])})]
    records += [record(0.0, 1, method="cross_entropy", left={0.1: (0.5, plain[1])})]
    records += [record(0.1, seed, left={0.1: (0.5, ours[seed])}) for seed in (0, 1)]
    return FakeRun(records, evaluate=EPS)


@pytest.mark.parametrize(
    ("plain", "ours", "expected"),
    [
        ((0.2, 0.3), (0.5, 0.6), "More than cross_entropy, by more than both standard deviations: "
         "vib by 30.0 points."),
        ((0.2, 0.3), (0.3, 0.4), "No method exceeds cross_entropy by more than both standard "
         "deviations over seeds."),
    ],
)  # fmt: skip
def test_robustness_is_compared_with_the_plain_network(plain, ours, expected):
    text = conclusions(attacked(plain, ours))[2]
    assert text.startswith("Accuracy under PGD at eps = 0.1 (Linf), at the beta with the highest")
    assert text.endswith(expected)


def test_no_robustness_may_be_claimed_without_an_audit():
    *_, text = conclusions(attacked((0.2, 0.3), (0.5, 0.6)))
    assert text == (
        f"{BOUND} So no robustness may be claimed yet. An audit finds out what may: narrows audit "
        "here --method vib --eps 0.1"
    )


def test_audits_in_the_folder_of_the_run_say_what_may_be_claimed(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    ours = audit(run.config.identity(), run.members(["vib"])[0])
    for name, each in (("ours", ours), ("other", audit("another"))):
        (run.path / "audits" / name).mkdir(parents=True)
        write_json(run.path / "audits" / name / "record.json", "record of an audit", each)
    assert audits_of(run) == [ours]
    *_, verdict, claim = conclusions(run)
    assert verdict == (
        f"The audit of {ours.request.member} left 12.5% (10.0% to 20.0%) on 4 images at eps = 0.1 "
        "(Linf): confirmed."
    )
    assert claim == f"{BOUND} Of the models that no audit has tested, no robustness may be claimed."


@pytest.mark.parametrize(
    ("norm", "name"), [("linf", "Linf"), ("l2", "L2"), ("l1", "L1"), ("l0", "L0")]
)
def test_an_audit_in_any_norm_is_told(norm, name, small_run, tmp_path):
    run = copied(small_run, tmp_path)
    ours = audit(run.config.identity(), run.members(["vib"])[0], norm=norm)
    (run.path / "audits" / "ours").mkdir(parents=True)
    write_json(run.path / "audits" / "ours" / "record.json", "record of an audit", ours)
    assert any(f"at eps = 0.1 ({name}): " in sentence for sentence in conclusions(run))
