"""`narrows attack`: on a run's models and on anybody's module."""

import json
import re

import msgspec
import pytest

from narrows.experiments.attacking import AttackReport
from narrows.runs.files import read_json
from scenarios_runs import narrows, refused
from scenarios_targets import DEFENCE


def report(folder) -> AttackReport:
    return read_json(folder / "record.json", "report of an attack", AttackReport)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def defence(tmp_path):
    path = tmp_path / "defence.py"
    path.write_text(DEFENCE)
    return path


def test_an_ensemble_leaves_a_ledger_and_is_not_repeated(small_run, tmp_path, capsys):
    words = ["attack", small_run.path, "--method", "vib", "--beta", "0.1", "--attack", "pgd"]
    words += ["--eps", "0.3", "--images", 20, "--set", "steps=3", "--set", "restarts=1"]
    words += ["--out", tmp_path / "result"]
    code, out, err = narrows(capsys, *words)
    assert (code, err) == (0, "")
    assert "vib, beta = 0.1, seed 0" in flat(out)
    assert out.splitlines()[-1] == f"Ledger and record.json: {tmp_path / 'result'}"
    record = report(tmp_path / "result")
    assert (record.request.images, record.request.mode) == (20, "sample")
    assert record.robust_accuracy < record.clean_accuracy
    assert record.verify_draws == 100
    assert abs(record.replayed_vote - record.robust_accuracy) <= 0.1
    assert float(record.robustbench.autoattack_acc) == pytest.approx(
        100 * record.robust_accuracy, abs=0.01
    )
    ledger = (tmp_path / "result" / "ledger.safetensors").stat().st_mtime_ns
    code, again, _ = narrows(capsys, *words)
    assert (tmp_path / "result" / "ledger.safetensors").stat().st_mtime_ns == ledger
    assert flat(again).split("vib,", 1)[1] == flat(out).split("vib,", 1)[1]


def test_what_a_model_prints_is_not_in_the_json_of_its_record(defence, tmp_path, capsys):
    defence.write_text('print("loading")\n' + defence.read_text())
    words = ["attack", f"{defence}:net", "--data", "digits", "--attack", "fgsm", "--eps", "0.1"]
    words += ["--images", 10, "--out", tmp_path / "result", "--json"]
    code, out, err = narrows(capsys, *words)
    assert (code, err.splitlines()) == (0, ["loading"])
    document = json.loads(out)
    assert document.pop("folder") == str(tmp_path / "result")
    assert document == json.loads(json.dumps(msgspec.to_builtins(report(tmp_path / "result"))))


def test_an_adaptive_attack_sees_the_latent(small_run, tmp_path, capsys):
    words = ["attack", small_run.path, "--method", "vib", "--attack", "adaptive", "--eps", "0.1"]
    words += ["--images", 10, "--set", "objective=rate", "--set", "steps=3", "--out"]
    for mode, draws in (("sample", 100), ("mean", 1)):
        code, _, _ = narrows(capsys, *words, tmp_path / mode, "--mode", mode)
        assert code == 0
        (entry,) = report(tmp_path / mode).attacks
        assert entry.fooled > 0
        assert (entry.forwards > 10 * 100) == (draws == 100)


def test_a_smallest_perturbation_is_reported_by_its_size(small_run, tmp_path, capsys):
    words = ["attack", small_run.path / "cross_entropy" / "models.safetensors"]
    words += ["--attack", "deepfool", "--images", 10, "--out", tmp_path / "result"]
    code, out, _ = narrows(capsys, *words)
    assert code == 0
    assert re.search(r"l2, no radius, median size \d", flat(out))
    record = report(tmp_path / "result")
    assert record.eps is None
    assert record.median_distance is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "--attack", "pgdd", "--eps", "0.1"], "unknown attack 'pgdd'; did you mean 'pgd'?"),
        (["RUN", "--attack", "backend", "--eps", "0.1"], "unknown attack 'backend'"),
        (["RUN", "--method", "vib", "--attack", "pgd"], "give it with --eps"),
        (["RUN", "--method", "vib", "--attack", "pgd", "--eps", "8"], "divide by 255"),
        (
            ["RUN", "--method", "vib", "--attack", "pgd", "--eps", ".1", "--set", "stepss=3"],
            "unknown option of pgd 'stepss'; did you mean 'steps'?",
        ),
        (
            ["RUN", "--method", "vib", "--attack", "pgd", "--eps", ".1", "--set", "steps=${no}"],
            "steps: Interpolation key 'no' not found",
        ),
        (["RUN", "--method", "vib", "--eps", ".1", "--set", "draws=many"], "a whole number"),
        (["RUN", "--attack", "fgsm", "--eps", "0.1"], "cross_entropy, vib"),
        (["RUN", "--method", "vibb", "--eps", "0.1"], "cross_entropy, vib"),
        (["RUN", "--method", "vib", "--beta", "7", "--eps", "0.1"], "beta 7.0 is not in this run"),
        (["RUN", "--method", "vib", "--seed", "7", "--eps", "0.1"], "seed 7 is not in this run"),
        (["RUN", "--method", "vib", "--eps", "0.1", "--device", "cuda:99"], "cannot be used here"),
        (["RUN", "--method", "vib", "--eps", "0.1", "--data", "toy1"], "toy1 has no images"),
        (["nowhere", "--eps", "0.1"], "there is no folder nowhere"),
        (["FILE:net", "--eps", "0.1"], "name a data set with --data"),
        (["FILE:nett", "--data", "digits", "--eps", "0.1"], "has no function 'nett'"),
        (["FILE:nothing", "--data", "digits", "--eps", "0.1"], "returned int, expected a torch"),
        (["FILE:fails", "--data", "digits", "--eps", "0.1"], "RuntimeError: no such weights any"),
        (["FILE:leaves", "--data", "digits", "--eps", "0.1"], "SystemExit: 3"),
        (["FILE:blocked", "--data", "digits", "--attack", "pgd", "--eps", "0.1"], "no gradient"),
        (["FILE:wide", "--data", "digits", "--attack", "pgd", "--eps", "0.1"], "cannot be run on"),
        (["FILE:net", "--data", "digits", "--attack", "fab", "--eps", "8"], "divide by 255"),
        (["gone.py:net", "--data", "digits", "--eps", "0.1"], "there is no file gone.py"),
    ],
)
def test_what_cannot_be_attacked_is_named_in_one_line(
    small_run, defence, words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    known = {"RUN": str(small_run.path), "FILE": str(defence)}
    target, colon, function = words[0].partition(":")
    first = known.get(target, target) + colon + function
    assert message in refused(capsys, "attack", first, *words[1:])


def test_an_edited_defence_is_another_one(defence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["attack", f"{defence}:net", "--data", "digits", "--attack", "fgsm", "--eps", "0.05"]
    assert narrows(capsys, *words, "--images", 20)[0] == 0
    defence.write_text(DEFENCE.replace("1e4 *", "-1 *"))
    code, out, _ = narrows(capsys, *words, "--images", 20)
    assert code == 0
    assert "net: 0.00% clean" in flat(out)
    assert len(list((tmp_path / "attacks").iterdir())) == 2


@pytest.mark.parametrize("towards", ["next", "random", "least_likely", "3"])
def test_towards_a_class_only_that_class_counts(towards, small_run, tmp_path, capsys):
    words = ["attack", small_run.path, "--method", "vib", "--attack", "pgd", "--eps", "0.5"]
    words += ["--images", 30, "--set", "steps=10", "--set", "restarts=1", "--mode", "mean"]
    words += ["--target", towards, "--out", tmp_path / "result"]
    code, out, _ = narrows(capsys, *words)
    assert code == 0
    assert f"towards {towards}" in flat(out)
    record = report(tmp_path / "result")
    assert record.request.towards == towards
    assert record.clean_accuracy > 0.7
    assert record.robust_accuracy < record.clean_accuracy
    assert "targeted" in record.robustbench.footnote
    if towards == "3":
        assert record.request.images < 30
    else:
        assert record.request.images == 30
    assert narrows(capsys, *words)[0] == 0


@pytest.mark.parametrize(
    ("towards", "message"),
    [
        ("nearest", "unknown choice of targets 'nearest'"),
        ("10", "the classes 0 to 9, got target 10"),
    ],
)
def test_a_class_that_cannot_be_reached_is_refused(towards, message, small_run, tmp_path, capsys):
    words = ["attack", small_run.path, "--method", "vib", "--attack", "fgsm", "--eps", "0.1"]
    words += ["--images", 10, "--target", towards, "--out", tmp_path / "result"]
    assert message in refused(capsys, *words)
    assert not (tmp_path / "result").exists()
