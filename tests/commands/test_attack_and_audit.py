"""`narrows attack`, `audit` and `reevaluate`: on a run's models and on anybody's module."""

import json
import re

import pytest

from narrows.audit import CHECKS, REMEDIES
from narrows.cli import main

DEFENCE = '''
import torch

class Scaled(torch.nn.Module):
    """A linear classifier of the digits whose logits are too far apart for float32."""
    def __init__(self):
        super().__init__()
        from narrows.data import load
        train = load("digits").train.all()
        means = torch.stack([train.x[train.y == c].flatten(1).mean(0) for c in range(10)])
        self.layer = torch.nn.Linear(64, 10)
        self.layer.weight.data = 2 * means
        self.layer.bias.data = -means.square().sum(1)
    def forward(self, x):
        return 1e4 * self.layer(x.flatten(1))

def net():
    return Scaled()

def nothing():
    return 3

def fails():
    raise RuntimeError("no such weights\\nanywhere")

def leaves():
    raise SystemExit(3)

def blocked():
    return torch.nn.Sequential(Scaled(), Detached())

class Detached(torch.nn.Module):
    def forward(self, x):
        return x.detach()

def wide():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(99, 10))
'''


def narrows(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stop.value.code or 0, " ".join(said.out.split()), said.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run with a stochastic method and its twin, two seeds each."""
    out = tmp_path_factory.mktemp("out")
    words = ["run", "--out", out, "--quiet", "--methods", "cross_entropy,vib", "--betas", "0.1"]
    words += ["--seeds", "2", "--epochs", "4", "--eps", "0.1"]
    words += ["--set", "evaluate.attack_images=20", "--set", "evaluate.pgd_steps=2"]
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert not stop.value.code
    (folder,) = out.iterdir()
    return folder


@pytest.fixture
def defence(tmp_path):
    path = tmp_path / "defence.py"
    path.write_text(DEFENCE)
    return path


def test_an_ensemble_leaves_a_ledger_and_is_not_repeated(run, tmp_path, capsys):
    words = ["attack", run, "--method", "vib", "--attack", "pgd", "--eps", "0.1", "--images", 20]
    words += ["--set", "steps=3", "--set", "restarts=1", "--out", tmp_path / "found"]
    code, said, _ = narrows(capsys, *words)
    assert code == 0
    assert "vib, beta = 0.1, seed 0" in said
    record = json.loads((tmp_path / "found" / "record.json").read_text())
    assert record["images"] == 20
    assert float(record["autoattack_acc"]) < float(record["clean_acc"])
    assert record["noise"]["verify_draws"] == 100
    assert abs(100 * record["replayed"]["vote"] - float(record["autoattack_acc"])) <= 10
    ledger = (tmp_path / "found" / "ledger.safetensors").stat().st_mtime_ns
    code, again, _ = narrows(capsys, *words)
    assert (tmp_path / "found" / "ledger.safetensors").stat().st_mtime_ns == ledger
    assert again.split("vib,", 1)[1] == said.split("vib,", 1)[1]


def test_an_adaptive_attack_sees_the_latent(run, tmp_path, capsys):
    words = ["attack", run, "--method", "vib", "--attack", "adaptive", "--eps", "0.1"]
    words += ["--images", 10, "--set", "objective=rate", "--set", "steps=3", "--out"]
    for mode, draws in (("sample", 100), ("mean", 1)):
        code, _, _ = narrows(capsys, *words, tmp_path / mode, "--mode", mode)
        assert code == 0
        (entry,) = json.loads((tmp_path / mode / "record.json").read_text())["attacks"]
        assert entry["fooled"] > 0
        assert (entry["forwards"] > 10 * 100) == (draws == 100)


def test_a_smallest_perturbation_is_reported_by_its_size(run, tmp_path, capsys):
    words = ["attack", run / "cross_entropy" / "models.safetensors", "--attack", "deepfool"]
    code, said, _ = narrows(capsys, *words, "--images", 10, "--out", tmp_path / "found")
    assert code == 0
    assert re.search(r"l2, eps = inf, median size \d", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN", "--attack", "pgdd", "--eps", "0.1"], "unknown attack 'pgdd'; did you mean 'pgd'?"),
        (["RUN", "--method", "vib", "--attack", "pgd"], "give it with --eps"),
        (["RUN", "--method", "vib", "--attack", "pgd", "--eps", "8"], "divide by 255"),
        (
            ["RUN", "--method", "vib", "--attack", "pgd", "--eps", ".1", "--set", "stepss=3"],
            "steps",
        ),
        (["RUN", "--method", "vib", "--eps", ".1", "--set", "draws=many"], "a whole number"),
        (["RUN", "--attack", "fgsm", "--eps", "0.1"], "cross_entropy, vib"),
        (["RUN", "--method", "vibb", "--eps", "0.1"], "cross_entropy, vib"),
        (["RUN", "--method", "vib", "--beta", "7", "--eps", "0.1"], "beta 7.0 is not in this run"),
        (["RUN", "--method", "vib", "--seed", "7", "--eps", "0.1"], "seed 7 is not in this run"),
        (["nowhere", "--eps", "0.1"], "there is no folder nowhere"),
        (["FILE:net", "--eps", "0.1"], "name some with --data"),
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
    run, defence, words, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    known = {"RUN": str(run), "FILE": str(defence)}
    target, colon, function = words[0].partition(":")
    first = known.get(target, target) + colon + function
    code, out, err = narrows(capsys, "attack", first, *words[1:])
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_the_audit_finds_a_planted_defence_out(defence, tmp_path, capsys):
    words = ["audit", f"{defence}:net", "--data", "digits", "--eps", "0.2", "--budget", "fast"]
    words += ["--images", 40, "--claimed", "0.8", "--out", tmp_path / "found"]
    code, said, _ = narrows(capsys, *words)
    assert code == 0
    assert "Overestimated by weaker attacks (from 80.0% to" in said
    record = json.loads((tmp_path / "found" / "record.json").read_text())
    assert record["verdict"]["reached"] < 0.2
    page = (tmp_path / "found" / "audit.html").read_text()
    assert record["verdict"]["sentence"] in page.replace("&#39;", "'")
    assert "http://" not in page.replace("http://www.w3.org", "")
    before = (tmp_path / "found" / "record.json").stat().st_mtime_ns
    code, again, _ = narrows(capsys, *words)
    assert code == 0
    assert (tmp_path / "found" / "record.json").stat().st_mtime_ns == before
    assert record["verdict"]["sentence"] in again
    assert f"audit: kept what was found before, by {len(CHECKS)} checks" in again
    assert f"0/{len(CHECKS) + len(REMEDIES)}" not in again


def test_an_edited_defence_is_another_one(defence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["attack", f"{defence}:net", "--data", "digits", "--attack", "fgsm", "--eps", "0.05"]
    assert narrows(capsys, *words, "--images", 20)[0] == 0
    defence.write_text(DEFENCE.replace("1e4 *", "-1 *"))
    code, said, _ = narrows(capsys, *words, "--images", 20)
    assert code == 0
    assert "net: 0.00 % clean" in said
    assert len(list((tmp_path / "attacks").iterdir())) == 2


def test_an_audit_with_another_twin_is_another_one(run, defence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["audit", run, "--method", "vib", "--eps", "0.05", "--budget", "fast", "--images", 10]
    assert narrows(capsys, *words)[0] == 0
    assert narrows(capsys, *words)[0] == 0
    assert len(list((tmp_path / "audits").iterdir())) == 1
    assert narrows(capsys, *words, "--twin", f"{defence}:net")[0] == 0
    assert len(list((tmp_path / "audits").iterdir())) == 2


def test_a_run_is_evaluated_again_with_restarts(run, capsys):
    code, said, _ = narrows(capsys, "reevaluate", run, "--images", 10)
    assert code == 0
    assert "cross_entropy, beta 0, seed 1: 16/16" in said
    assert "vib, beta 0.1, seed 1: 32/32" in said
    assert "reevaluation.html" in said
    files = sorted(path.name for path in (run / "reevaluation").glob("*.json"))
    assert files == [
        *(f"cross_entropy-0-{seed}.json" for seed in (0, 1)),
        *(f"vib-0.1-{seed}.json" for seed in (0, 1)),
    ]
    for name in files:
        rows = json.loads((run / "reevaluation" / name).read_text())["rows"]
        modes = {"mean", "sample"} if name.startswith("vib") else {"deterministic"}
        assert {row["mode"] for row in rows} == modes
        for mode in modes:
            for eps in (0.1, 0.2):
                left = [
                    row["accuracy"]
                    for row in rows
                    if (row["mode"], row["attack"], row["eps"]) == (mode, "pgd", eps)
                ]
                assert left == sorted(left, reverse=True)
    code, _, err = narrows(capsys, "reevaluate", run, "--betas", "3")
    assert code == 2
    assert "0.1" in err
