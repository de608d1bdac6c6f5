"""`narrows runs`: everything that is said of the runs of a folder."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from narrows.commands import runs as module
from scenarios_runs import narrows, refused


@pytest.fixture
def folder(small_run, tmp_path):
    for name in ("digits-a", "digits-b"):
        shutil.copytree(small_run.path, tmp_path / name)
    (tmp_path / "digits-b" / "done.json").unlink()
    return tmp_path


def test_a_list_as_a_table_and_as_json(folder, capsys):
    code, out, err = narrows(capsys, "runs", folder)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["run", "state", "models"]
    assert lines[1].startswith("digits-a  complete")
    assert lines[-1].startswith(f"2 runs in {folder}, 1 complete, ")
    code, out, err = narrows(capsys, "runs", folder, "--where", "state=unfinished", "--json")
    (run,) = json.loads(out)
    assert (run["name"], run["state"], run["marks"]) == ("digits-b", "unfinished", [])
    code, out, err = narrows(capsys, "runs", folder, "--where", "data=mnist")
    assert out == f"0 runs in {folder}, 0 complete, 0 models\n"


def test_two_are_compared(folder, capsys):
    code, out, err = narrows(capsys, "runs", folder, "--compare", "digits-a", "digits-b")
    assert (code, err, out) == (0, "", "0 differences between digits-a and digits-b\n")
    (folder / "digits-b" / "vib" / "done.json").unlink()
    words = ["runs", folder, "--compare", "digits-a", "digits-b", "--json"]
    rows = json.loads(narrows(capsys, *words)[1])
    assert {"name": "state", "first": None, "second": "unfinished"} in rows


def test_damage_is_named_and_ends_with_an_error(folder, capsys):
    code, out, err = narrows(capsys, "runs", folder, "--verify")
    assert (code, out, err) == (0, "2 of 2 runs are as they were written\n", "")
    path = folder / "digits-a" / "summary.json"
    path.write_text(path.read_text().replace("chosen_beta", "chosen_bet"))
    code, out, err = narrows(capsys, "runs", folder, "--verify")
    assert (code, out.splitlines()[-1]) == (2, "1 of 2 runs are as they were written")
    assert str(path) in out
    assert err == "narrows: 1 of 2 runs are damaged\n"
    code, out, err = narrows(capsys, "runs", folder, "--verify", "--json")
    assert list(json.loads(out)) == [str(folder / "digits-a")]


def test_numbers_are_exported(folder, tmp_path, capsys):
    file = tmp_path / "table.csv"
    code, out, err = narrows(capsys, "runs", folder, "--export", file)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"Table: {file}"
    assert len(file.read_text().splitlines()) == 1 + int(out.split()[0])
    assert "FILE.csv" in refused(capsys, "runs", folder, "--export", tmp_path / "table.xls")
    assert "--format tensorboard" in refused(capsys, "runs", folder, "--export", tmp_path / "logs")
    code, out, err = narrows(
        capsys, "runs", folder, "--export", tmp_path / "table.txt", "--format", "csv"
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "table.txt").read_text() == file.read_text()


@pytest.mark.parametrize(
    ("words", "module", "label"),
    [
        (["--export", "OUT.db"], "mlflow", "Store"),
        (["--export", "OUT", "--format", "tensorboard"], "tensorboardX", "Folder"),
    ],
)
def test_numbers_are_tracked(words, module, label, folder, tmp_path, capsys, monkeypatch):
    words = ["runs", folder, *(word.replace("OUT", str(tmp_path / "out")) for word in words)]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        assert f"pip install 'narrows[{module.lower()[:11]}]'" in refused(capsys, *words)
    pytest.importorskip(module, reason=f"{module} is not installed")
    code, out, err = narrows(capsys, *words)
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == f"{label}: {words[3]}"
    assert Path(words[3]).exists()


def test_runs_are_deleted_after_a_question(folder, capsys, monkeypatch):
    words = ["runs", folder, "--where", "state=unfinished", "--prune"]
    monkeypatch.setattr(module.click, "confirm", lambda question: "1 runs" not in question)
    code, out, _ = narrows(capsys, *words)
    assert (code, out.splitlines()[-1]) == (0, "nothing was deleted")
    assert (folder / "digits-b").exists()
    code, out, _ = narrows(capsys, *words, "--yes")
    assert (code, out.splitlines()) == (0, [str(folder / "digits-b"), "1 runs deleted"])
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["digits-a"]
    assert narrows(capsys, *words)[1] == "no run to delete\n"


def test_with_json_runs_are_deleted_without_a_question_or_not_at_all(folder, capsys):
    words = ["runs", folder, "--where", "state=unfinished", "--prune", "--json"]
    assert "add --yes to delete" in refused(capsys, *words)
    assert (folder / "digits-b").exists()
    code, out, err = narrows(capsys, *words, "--yes")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"deleted": [str(folder / "digits-b")], "in_use": []}
    assert json.loads(narrows(capsys, *words, "--yes")[1])["deleted"] == []


def test_the_export_is_described_in_json(folder, tmp_path, capsys):
    file = tmp_path / "table.csv"
    document = json.loads(narrows(capsys, "runs", folder, "--export", file, "--json")[1])
    assert document == {
        "table": str(file),
        "numbers": len(file.read_text().splitlines()) - 1,
        "runs": 2,
    }


def test_what_is_refused(folder, capsys):
    assert "--prune needs --where" in refused(capsys, "runs", folder, "--prune", "--yes")
    assert "exclude" in refused(capsys, "runs", folder, "--verify", "--prune")
    assert "with --export" in refused(capsys, "runs", folder, "--format", "csv")
    assert "there is no folder" in refused(capsys, "runs", folder / "none")
    assert "state" in refused(capsys, "runs", folder, "--where", "sate=x")
    assert "is not the folder of a run" in refused(
        capsys, "runs", folder.parent, "--compare", folder.name, Path(folder.name)
    )
