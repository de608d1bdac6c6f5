"""`narrows audit`: a planted defence is found out, and nothing is done twice."""

import pytest

from narrows.audit import CHECKS, REMEDIES
from narrows.experiments.auditing import read_audit
from narrows.runs import Member
from scenarios_runs import lone_folder, narrows, refused
from scenarios_targets import DEFENCE


@pytest.fixture
def defence(tmp_path):
    path = tmp_path / "defence.py"
    path.write_text(DEFENCE)
    return path


def test_the_audit_finds_a_planted_defence_out(defence, tmp_path, capsys):
    words = ["audit", f"{defence}:net", "--data", "digits", "--eps", "0.2", "--budget", "fast"]
    words += ["--images", 40, "--claimed", "0.8", "--out", tmp_path / "result"]
    code, out, _ = narrows(capsys, *words)
    assert code == 0
    assert "Overestimated by weaker attacks (from 80.0% to" in " ".join(out.split())
    record = read_audit(tmp_path / "result")
    assert record.verdict.reached < 0.2
    # The defence is a linear model whose logits are scaled: what is left is certain.
    assert record.verdict.certified_by == "exact"
    assert record.verdict.certified == pytest.approx(record.verdict.reached, abs=0.03)
    known = f"claimed 80.0%, left {record.verdict.reached:.1%}, certified "
    assert f"{known}{record.verdict.certified:.1%}" in " ".join(out.split())
    assert (record.request.run, record.request.member) == (None, None)
    page = (tmp_path / "result" / "audit.html").read_text()
    assert record.verdict.sentence in page.replace("&#39;", "'")
    assert "http://" not in page.replace("http://www.w3.org", "")
    before = (tmp_path / "result" / "record.json").stat().st_mtime_ns
    code, again, _ = narrows(capsys, *words)
    again = " ".join(again.split())
    assert code == 0
    assert (tmp_path / "result" / "record.json").stat().st_mtime_ns == before
    assert record.verdict.sentence in again
    assert f"audit: finished before and kept, with {len(CHECKS)} checks" in again
    assert f"0/{len(CHECKS) + len(REMEDIES)}" not in again


def test_an_audit_with_another_twin_is_another_one(
    small_run, defence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["audit", small_run.path, "--method", "vib", "--beta", "0.1", "--seed", "1"]
    words += ["--eps", "0.05", "--budget", "fast", "--images", 10]
    assert narrows(capsys, *words)[0] == 0
    request = read_audit(lone_folder(tmp_path / "audits")).request
    assert request.run == small_run.config.identity()
    assert request.member == Member("vib", 0.1, 1)
    assert narrows(capsys, *words)[0] == 0
    lone_folder(tmp_path / "audits")
    assert narrows(capsys, *words, "--twin", f"{defence}:net")[0] == 0
    assert len(list((tmp_path / "audits").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eps", "8"], "eps"),
        (["--eps", "0.1", "--budget", "fats"], "did you mean 'fast'?"),
        (["--eps", "0.1", "--claimed", "3"], "claimed"),
        (["--eps", "0.1", "--twin", "gone.py:net"], "there is no file gone.py"),
        (["--eps", "0.1", "--device", "toaster"], "device 'toaster'"),
    ],
)
def test_what_cannot_be_audited_is_named_in_one_line(
    small_run, words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "audit", small_run.path, "--method", "vib", *words)
