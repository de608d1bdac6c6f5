"""The comparison of a number with the paper's."""

import math
from dataclasses import replace

import pytest

from narrows.errors import StoreError
from narrows.reproduction.records import Cell, ReproductionRecord, compared, read_record
from narrows.reproduction.tables import Column, PaperRow, PaperTable, Reason, load_table


def cell(values, paper=50.0, images=0, tolerance=1.0):
    return Cell("row", "column", paper, list(values), images, tolerance=tolerance)


def test_mean_spread_and_standard_error_over_seeds():
    measured = cell([10.0, 12.0, 14.0], paper=11.0)
    assert (measured.mean, measured.spread) == (12.0, 2.0)
    assert measured.std_error == pytest.approx(2 / math.sqrt(3))
    assert measured.errors_apart == pytest.approx(math.sqrt(3) / 2)


def test_one_seed_has_the_standard_error_of_a_share():
    measured = cell([20.0], images=400)
    assert measured.spread is None
    assert measured.std_error == pytest.approx(100 * math.sqrt(0.2 * 0.8 / 400))
    assert cell([20.0]).std_error is None


@pytest.mark.parametrize(
    ("measured", "agrees"),
    [
        (cell([51.0]), True),  # within the tolerance
        (cell([51.1]), False),
        (cell([45.0, 55.9, 60.0]), True),  # within two standard errors
        (cell([55.0, 55.1, 55.2]), False),
        (cell([50.2], tolerance=0.1), False),
        (cell([46.0], images=500), True),  # two standard errors of a share are 4.5
        (cell([45.0], images=500), False),
        (cell([]), False),
        (cell([50.0], paper=None), False),
    ],
)
def test_when_a_cell_agrees(measured, agrees):
    assert measured.agrees == agrees


def table(reasons=()):
    rows = [PaperRow(name, "vib", [50.0, math.nan]) for name in ("a", "b")]
    columns = [Column("x", "accuracy"), Column("y", "accuracy")]
    return PaperTable(
        "t", "P 2000", "Table 1", "Title", ["mnist"], {"main": None}, columns, rows,
        reasons=list(reasons),
    )  # fmt: skip


def test_states_of_a_table():
    why = Reason("Because.", "docs/x.md", rows=["b"])
    cells = [
        Cell("a", "x", 50.0, [50.5]),
        Cell("a", "y", None, [3.0]),
        Cell("b", "x", 50.0, [60.0]),
    ]
    record = ReproductionRecord("t", "short", cells)
    found = {(c.cell.row, c.cell.column): c for c in compared(table([why]), record)}
    assert {key: c.state for key, c in found.items()} == {
        ("a", "x"): "reproduced",
        ("a", "y"): "measured",
        ("b", "x"): "explained",
        ("b", "y"): "not run",
    }
    assert found["b", "x"].reason == why
    assert [c.state for c in compared(table(), record)][2] == "differs"
    assert {c.state for c in compared(table(), None)} == {"not run"}


def test_seeds_and_measured_cells_are_counted():
    cells = [Cell("a", "x", 1.0, [1.0, 2.0]), Cell("b", "x", 1.0, [1.0]), Cell("c", "x", 1.0)]
    record = ReproductionRecord("t", "short", cells)
    assert (record.measured, record.seeds) == (2, 2)


def test_a_record_is_read_and_a_damaged_one_is_named(tmp_path):
    assert read_record(tmp_path, "t", "short") is None
    path = tmp_path / "t-short.json"
    path.write_text('{"content": {"name": "t", "scale": "short", "finished": true}}')
    assert read_record(tmp_path, "t", "short") == ReproductionRecord("t", "short", finished=True)
    for text in ("", "[]", "{}", '{"content": {"name": 3}}'):
        path.write_text(text)
        with pytest.raises(StoreError, match="is no record of a reproduction"):
            read_record(tmp_path, "t", "short")
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        read_record(tmp_path, "t", "short")


def test_the_papers_own_spread_counts_over_as_many_seeds_as_ours():
    cell = Cell("VIB", "FGS", 45.0, [50.0, 52.0, 54.0], paper_spread=6.0)
    assert cell.std_error == pytest.approx(math.sqrt(4 / 3 + 36 / 3))
    assert cell.agrees  # 7 apart, 3.65 for one standard error
    assert not replace(cell, paper_spread=0.0).agrees
    one_seed = Cell("VIB", "FGS", 45.0, [50.0], images=100, paper_spread=6.0)
    assert one_seed.std_error == pytest.approx(math.hypot(5.0, 6.0))


def test_counts_have_the_standard_error_of_their_share():
    counted = Cell("plane", "as bird", 352.0, [333.0], images=1000, whole=1000.0)
    assert counted.std_error == pytest.approx(1000 * math.sqrt(0.333 * 0.667 / 1000))
    assert counted.agrees


def test_spreads_come_from_the_table_and_a_note_is_a_result():
    table = load_table("aib-table1-mnist")
    record = ReproductionRecord(
        table.name,
        "short",
        [Cell("NIB", "FGS .10", 45.1, [54.6]), Cell("NIB", "FGS .15", 29.3, note="never")],
    )
    states = {
        each.cell.column: (each.state, each.cell.paper_spread)
        for each in compared(table, record)
        if each.cell.row == "NIB"
    }
    assert states["FGS .10"] == ("differs", 1.6)
    assert states["FGS .15"] == ("differs", 4.3)
    assert states["clean"] == ("not run", 0.2)
