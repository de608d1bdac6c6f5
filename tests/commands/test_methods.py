"""`narrows methods`: what there is to train with."""

from narrows.methods import METHODS
from narrows.methods.adversarial import WRAPPERS
from narrows.methods.catalogue import catalogue
from scenarios_runs import narrows


def table(capsys, *words: str) -> str:
    code, out, err = narrows(capsys, "methods", *words)
    assert (code, err) == (0, "")
    return out


def test_every_method_has_a_row(capsys):
    text = table(capsys)
    assert [name for name in (*METHODS, *WRAPPERS) if name not in text] == []


def test_no_word_is_cut_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = table(capsys)
    assert max(map(len, text.splitlines())) == 80
    words = set(text.replace(",", " ").split())
    for entry in catalogue():
        cells = [entry.name, entry.claim, entry.source, entry.needs]
        assert set(" ".join(cells).replace(",", " ").split()) - {"-"} <= words, entry.name


def test_markdown_has_a_row_a_method_of_equal_width(capsys):
    lines = table(capsys, "--markdown").splitlines()
    assert len(lines) == 2 + len(METHODS) + len(WRAPPERS)
    assert {line.count("|") for line in lines} == {7}
    assert lines[2].startswith("| `cross_entropy` | ")
