"""`narrows knee`: the knee of each method, or why there is none."""

import json
from dataclasses import asdict

from narrows.runs.knees import find_knee
from scenarios_runs import copied, narrows, refused


def test_the_knee_of_each_method_or_why_there_is_none(small_run, capsys):
    code, out, _ = narrows(capsys, "knee", small_run.path, "--json")
    assert code == 0
    knees = json.loads(out)
    assert list(knees) == ["cross_entropy", "vib"]
    expected = asdict(find_knee(small_run.records(["vib"])))
    assert knees["vib"] == json.loads(json.dumps(expected))
    assert (knees["vib"]["point"] is None) == (knees["vib"]["why"] is not None)
    assert knees["vib"]["one_error"]["beta"] in (0.01, 0.1, 1)
    assert knees["cross_entropy"]["point"] is None
    assert "there are 1" in knees["cross_entropy"]["why"]
    _, table, _ = narrows(capsys, "knee", small_run.path)
    assert "| cross_entropy | no clear knee: a knee needs at least 3 betas, there are 1 |" in table
    assert table.count("\n") == 4


def test_the_curve_may_be_that_of_test_data(small_run, capsys):
    _, out, _ = narrows(capsys, "knee", small_run.path, "--json", "--split", "test")
    expected = asdict(find_knee(small_run.records(["vib"]), "test"))
    assert json.loads(out)["vib"] == json.loads(json.dumps(expected))
    code, _, err = narrows(capsys, "knee", small_run.path, "--split", "validation")
    assert code == 2
    assert "train" in err


def test_what_has_no_knee_is_one_line(small_run, tmp_path, capsys):
    assert "it has no config.json" in refused(capsys, "knee", tmp_path)
    run = copied(small_run, tmp_path)
    (run.path / "vib" / "done.json").unlink()
    assert "is not finished" in refused(capsys, "knee", run.path)
