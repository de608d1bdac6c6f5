"""The list of runs is what their own files say, however often it is asked for."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from narrows.errors import ConfigError, StoreError
from narrows.runs.summary import chosen_beta
from narrows.stored import index
from narrows.stored.index import list_runs, matching


@pytest.fixture
def folder(small_run, tmp_path):
    """Two copies of a run, one of them unfinished, and what is no run."""
    for name in ("digits-a", "digits-b"):
        shutil.copytree(small_run.path, tmp_path / name)
    (tmp_path / "digits-b" / "done.json").unlink()
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").write_text("")
    return tmp_path


def test_an_entry_says_what_its_run_has(folder, small_run):
    complete, unfinished = list_runs(folder)
    config = small_run.config
    assert (complete.name, complete.data, complete.state) == ("digits-a", "digits", "complete")
    assert complete.methods == tuple(config.methods)
    assert complete.models == sum(len(config.members(method)) for method in config.methods)
    assert (complete.seeds, complete.epochs) == (config.seeds, config.train.epochs)
    assert (unfinished.state, unfinished.outcomes, unfinished.accuracy) == ("unfinished", (), None)
    for outcome in complete.outcomes:
        records = small_run.records([outcome.method])
        assert outcome.beta == chosen_beta(records)
        own = [record.accuracy.test for record in records if record.beta == outcome.beta]
        assert outcome.accuracy == pytest.approx(sum(own) / len(own))
    assert complete.accuracy == max(outcome.accuracy for outcome in complete.outcomes)


def test_the_index_is_read_and_follows_every_change(folder, monkeypatch):
    before = list_runs(folder)
    reads = []
    original = index._read_run

    def counted(path, marks):
        reads.append(path.name)
        return original(path, marks)

    monkeypatch.setattr(index, "_read_run", counted)
    assert list_runs(folder) == before
    assert reads == []
    shutil.copyfile(folder / "digits-a" / "done.json", folder / "digits-b" / "done.json")
    assert [run.state for run in list_runs(folder)] == ["complete", "complete"]
    assert reads == ["digits-b"]
    shutil.rmtree(folder / "digits-a")
    (folder / "digits-b" / "config.json").write_text("{}")
    (run,) = list_runs(folder)
    assert (run.name, run.state) == ("digits-b", "unreadable")
    for damaged in ("", "{}", json.dumps({"format": 99, "runs": []})):
        (folder / ".index.json").write_text(damaged)
        assert list_runs(folder) == [run]


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser writes everywhere")
def test_a_folder_that_cannot_be_written_to_is_listed(folder):
    folder.chmod(0o500)
    try:
        assert len(list_runs(folder)) == 2
    finally:
        folder.chmod(0o700)


def test_an_index_that_cannot_be_written_is_no_error(folder):
    (folder / ".index.json").mkdir()
    assert len(list_runs(folder)) == 2
    assert sorted(path.name for path in folder.glob(".index*")) == [".index.json"]


def test_filters(folder):
    runs = list_runs(folder)
    assert matching(runs, []) == runs
    assert matching(runs, ["data=digits", "state=unfinished"]) == runs[1:]
    assert matching(runs, ["name=digits-a,digits-b", "method=vib"]) == runs
    assert matching(runs, ["seeds=99"]) == []
    assert matching(runs, ["adversarial=none", f"models={runs[0].models}"]) == runs
    with pytest.raises(ConfigError, match="state"):
        matching(runs, ["sate=complete"])
    with pytest.raises(ConfigError, match="FIELD=VALUE"):
        matching(runs, ["complete"])
    with pytest.raises(StoreError, match="there is no folder"):
        list_runs(folder / "none")


def test_a_list_does_not_wait_for_torch():
    code = "import sys, narrows.stored.index; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
