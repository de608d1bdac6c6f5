"""Every command with every option, and on the folders of runs in every state."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from narrows import Run, load
from product.cases import (
    COMMAND_CASES,
    DONE,
    NOT_IN_STATE,
    NOT_OF_A_RUN,
    STATE_WORDS,
    STATES,
)
from product.runs import DEFENCE, RUNS, WORDS
from product.walk import narrows, records, refused, run, settings, succeed, watched


@pytest.fixture
def say(shelf, tmp_path):
    """Fills in RUN (a copy of one's own), OUT and FILE of a case."""

    def words(text: str, name: str) -> list[str]:
        folder = shelf.copy(name, RUNS[name], tmp_path / "run") if "RUN" in text else Path()
        (tmp_path / "own.py").write_text(DEFENCE)
        (tmp_path / "own.toml").write_text('methods = ["vib"]\n[network]\nencoder = [8]\n')
        test = load("digits").test
        np.savez(tmp_path / "own.npz", images=(test.x[:, 0] * 255).byte().numpy(), labels=test.y)
        rows = "\n".join(f"{i % 7 / 7},{i % 5 / 3}" for i in range(40))
        (tmp_path / "own.csv").write_text(rows + "\n")
        known = {"RUN": folder, "OUT": tmp_path / "out", "FILE": tmp_path / "own"}
        return [re.sub("RUN|OUT|FILE", lambda m: str(known[m[0]]), word) for word in text.split()]

    return words


def check(words: list[str], out: str) -> None:
    """What was printed is what the words ask for, and every path in it is there."""
    if "--json" in words:
        assert json.loads(out, parse_constant=pytest.fail)
        written = [Path(path) for path in re.findall(r'"(/[^":]+)"', out)]
        assert [path for path in written if not path.exists()] == []
        return
    if "--markdown" in words and words[0] != "reproduce":
        assert {line[0] for line in out.splitlines()} == {"|"}
    paths = [Path(path) for path in re.findall(r"^(?:[A-Z][\w .]+): (/\S+)$", out, re.MULTILINE)]
    assert [path for path in paths if not path.exists()] == []
    pages = [path for path in paths if path.suffix == ".html"]
    if words[0] != "reproduce":  # which names a page for each figure of a table
        drawing = words[0] in ("run", "audit", "figure", "report", "reevaluate", "plane")
        assert len(pages) == (drawing and "--markdown" not in words)
    for page in pages:
        loaded = re.findall(r"""(?:src|href)=["']?(?!data:)([^"'\s>]+)""", page.read_text())
        assert [address for address in loaded if "//" in address] == []
    pictures = [path for path in paths if path.suffix == ".png"]
    assert bool(pictures) == ("--png" in words)
    for picture in pictures:
        assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("case", COMMAND_CASES, ids=lambda case: f"{case.words} ({case.run})")
def test_a_command_does_what_its_words_say_and_again(case, say):
    words = say(case.words, case.run)
    check(words, succeed(*words))
    check(words, succeed(*words))


@pytest.mark.parametrize("text", STATE_WORDS)
@pytest.mark.parametrize("state", STATES)
def test_a_command_on_a_run_in_this_state(state, text, say):
    words = say(text, state)
    why = NOT_IN_STATE.get((state, text), NOT_OF_A_RUN.get(text, STATES[state]))
    if why == DONE:
        check(words, succeed(*words))
    else:
        assert why in refused(*words)


@pytest.mark.parametrize("state", ["finished", "audited", "diverged"])
def test_the_same_run_again_trains_nothing(state, shelf, tmp_path):
    folder = shelf.copy(state, RUNS[state], tmp_path)
    with watched() as steps:
        assert run(tmp_path, *WORDS[state]) == folder
    assert steps.count == 0


def test_an_unfinished_run_goes_on_with_what_it_lacks(shelf, tmp_path):
    folder = shelf.copy("unfinished", RUNS["unfinished"], tmp_path)
    before = records(folder, "cross_entropy")
    assert run(tmp_path, *WORDS["unfinished"]) == folder
    assert records(folder, "cross_entropy") == before
    assert len(records(folder, "vib")) == len(records(folder, "aib")) == 6


def test_what_has_diverged_is_named_and_the_rest_is_there(shelf):
    folder = shelf.get("diverged", RUNS["diverged"])
    assert {record.beta for record in records(folder, "vib")} == {0.01, 0.1}
    said = narrows("report", folder, "--markdown")
    assert said.code == 0
    assert {member.beta for member in Run.open(folder).lost("vib")} == {1e38}


@pytest.mark.parametrize("methods", ["cross_entropy,vib", "vib,cross_entropy"])
def test_one_method_that_diverges_does_not_cost_the_others(methods, tmp_path):
    small = settings("network.encoder=[8] evaluate.attack=false")
    words = ["--methods", methods, "--betas", "1e38", "--epochs", "1", "--seeds", "1", *small]
    said = narrows("run", "--out", tmp_path, "--quiet", *words)
    assert said.code == 2
    assert "vib" in said.err
    assert said.err.count("\n") == 1
    (folder,) = tmp_path.iterdir()
    assert len(records(folder, "cross_entropy")) == 1
