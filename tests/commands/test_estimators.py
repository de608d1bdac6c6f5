import pytest

from narrows.cli import main
from narrows.information import ESTIMATORS


def table(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["estimators", *words])
    assert not stop.value.code
    return capsys.readouterr().out


def test_every_estimator_has_a_row_with_what_describes_it(capsys):
    rows = table(capsys, "--markdown").splitlines()
    assert len(rows) == 2 + len(ESTIMATORS)
    for row, (name, entry) in zip(rows[2:], ESTIMATORS.items(), strict=True):
        cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
        assert cells[:3] == [f"`{name}`", entry.claim, entry.source]
        assert cells[3:5] == [", ".join(entry.measures), entry.needs]
        assert cells[5] == {"none": "no"}.get(entry.randomness, entry.randomness)


def test_no_word_is_cut_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = table(capsys)
    assert max(map(len, text.splitlines())) <= 80
    words = set(text.split())
    for name, entry in ESTIMATORS.items():
        cells = [name, entry.claim, entry.source, entry.needs, *entry.measures]
        assert set(" ".join(cells).split()) <= words | {"I(X;Z),"}, name
