"""What a number may depend on, and which commit it was."""

import platform
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from narrows.errors import StoreError
from narrows.runs import environment
from narrows.runs.environment import Environment, current_environment, record_environment
from narrows.runs.files import read_json, write_json
from narrows.runs.progress import Progress
from scenarios_runs import Notes


def recorded(folder: Path) -> Environment:
    return read_json(folder / "environment.json", "environment", Environment)


def test_the_environment_says_what_a_number_may_depend_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/narrows", "run", "--out", "my runs"])
    record_environment(tmp_path, "cpu", Progress(), finished=False)
    described = recorded(tmp_path)
    assert described.torch == torch.__version__
    assert described.numpy == version("numpy")
    assert described.python == platform.python_version()
    assert described.threads == torch.get_num_threads()
    assert described.command == "narrows run --out 'my runs'"
    assert described.accelerator is None
    assert described.processor is not None
    assert "cores" in described.processor
    record_environment(tmp_path, "cpu", Progress(), finished=False)
    assert recorded(tmp_path) == described


def test_going_on_elsewhere_is_recorded_and_reading_a_finished_run_is_not(tmp_path, monkeypatch):
    surroundings = Environment(torch="1", threads=2, command="narrows run", started="then")
    monkeypatch.setattr(environment, "current_environment", lambda device: surroundings)

    def continued(finished=False, **changes) -> Environment:
        nonlocal surroundings
        surroundings = replace(surroundings, **changes)
        record_environment(tmp_path, "cpu", Progress(), finished=finished)
        return recorded(tmp_path)

    assert continued().resumed == []
    assert continued(started="later", command="narrows run --quiet").resumed == []
    again = continued(torch="2")
    assert (again.torch, [other.torch for other in again.resumed]) == ("1", ["2"])
    assert len(continued(threads=3).resumed) == 2
    assert len(continued(finished=True, torch="3").resumed) == 2
    assert recorded(tmp_path).started == "then"


@pytest.mark.parametrize(
    ("begun", "resumed", "finished", "named"),
    [
        ("1 a", [], False, "1 (commit a)"),
        ("1", ["2", "1", None], False, "1, 2"),
        ("3 b", ["2 b"], False, "2 (commit b)"),
        ("3 a", [], False, "3 (commit a)"),  # one version, another commit
        ("3 b", ["3 b"], False, None),
        ("3", [], False, None),  # of an installed package: which commit is not known
        (None, [], False, None),  # of a copy that is not installed
        ("1 a", [], True, None),  # nothing is computed any more
    ],
)
def test_what_other_code_began_is_continued_with_a_note(
    begun, resumed, finished, named, tmp_path, monkeypatch
):
    def code(words: str | None, **others) -> Environment:
        version, commit = (*(words or "").split(), None, None)[:2]
        return Environment(narrows=version, git_commit=commit, **others)

    now = code("3 b", torch="1")
    monkeypatch.setattr(environment, "current_environment", lambda device: now)
    before = code(begun, resumed=[code(other) for other in resumed])
    write_json(tmp_path / "environment.json", "environment", before)
    notes = Notes()
    record_environment(tmp_path, "cpu", notes, finished=finished)
    continued = "is continued by narrows 3 (commit b); numbers may differ"
    assert len(notes.notes) == (named is not None)
    assert all(f"begun by narrows {named} and {continued}" in text for text in notes.notes)
    if named is not None:
        assert recorded(tmp_path).resumed[-1] == now


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(StoreError, match=r"environment\.json is not JSON"):
        record_environment(tmp_path, "cpu", Progress(), finished=False)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def checkout(root: Path, inside: str) -> Path:
    """A repository of one commit, and somewhere inside of it a copy of the package."""
    package = root / inside
    package.mkdir(parents=True)
    (package / "errors.py").write_text("code\n")
    (root / "README").write_text("a repository\n")
    git(root, "init", "-q")
    git(root, "add", "README")
    git(root, "commit", "-q", "-m", "first")
    return package


def test_the_commit_is_that_of_the_checkout_the_package_runs_from(tmp_path):
    package = checkout(tmp_path, "src/narrows")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "second")
    git(tmp_path, "tag", "-a", "v1", "-m", "a tag")
    commit = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert environment._git_commit(package) == commit
    (package / "errors.py").write_text("changed\n")
    assert environment._git_commit(package) == f"{commit}-dirty"


@pytest.mark.parametrize(
    "inside", ["venv/lib/python3.12/site-packages/narrows", "src/narrows", "elsewhere"]
)
def test_an_installed_copy_does_not_report_the_repository_around_it(tmp_path, inside):
    assert environment._git_commit(checkout(tmp_path, inside)) is None


def test_a_copy_that_another_repository_tracks_is_not_its_commit(tmp_path):
    package = checkout(tmp_path, "vendor/narrows")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "vendored")
    assert environment._git_commit(package) is None


def test_without_a_repository_or_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / "errors.py").write_text("")
    assert environment._git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert current_environment("cpu").git_commit is None


def test_the_git_of_a_surrounding_hook_does_not_mislead(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    package = checkout(inner, "src/narrows")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "second")
    expected = environment._git_commit(package)
    checkout(tmp_path / "outer", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "outer" / ".git"))
    assert environment._git_commit(package) == expected
    assert expected is not None


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    assert environment._version("narrows") == version("narrows")
    assert environment._version("no-such-package-of-ours") is None
