"""The list of tables, and the counts of cells."""

from narrows.reproduction.overview import best_record, counts, overview, read_finished
from narrows.reproduction.records import KIND, Cell, ReproductionRecord
from narrows.reproduction.tables import load_table
from narrows.runs.files import write_json

TABLE = load_table("vib-table1")


def store(folder, scale, cells=(), **more):
    record = ReproductionRecord("vib-table1", scale, list(cells), **more)
    write_json(folder / f"vib-table1-{scale}.json", KIND, record)
    return record


def states(folder):
    return next(item.states for item in overview(folder) if item.table.name == "vib-table1")


def test_states_are_by_scale(tmp_path):
    assert states(tmp_path) == {}
    store(tmp_path, "smoke", [Cell("baseline", "test error", 1.38, [1.0, 2.0])], finished=True)
    store(tmp_path, "short")
    assert states(tmp_path) == {
        "smoke": "1 of 5 cells, 2 seeds",
        "short": "0 of 5 cells, 0 seeds, unfinished",
    }
    (tmp_path / "vib-table1-paper.json").write_text("no")
    assert states(tmp_path)["paper"] == "record damaged"


def test_a_figure_without_cells_is_begun_or_finished(tmp_path):
    for finished, state in ((False, "begun"), (True, "finished")):
        record = ReproductionRecord("aib-figure5", "short", finished=finished)
        write_json(tmp_path / "aib-figure5-short.json", KIND, record)
        (item,) = [item for item in overview(tmp_path) if item.table.name == "aib-figure5"]
        assert item.states == {"short": state}


def test_the_best_record_is_the_longest_that_has_something(tmp_path):
    assert best_record(TABLE, tmp_path) is None
    store(tmp_path, "smoke", finished=True)
    assert best_record(TABLE, tmp_path) is None
    short = store(tmp_path, "short", [Cell("baseline", "test error", 1.38, [1.0])])
    store(tmp_path, "paper")
    assert best_record(TABLE, tmp_path) == short
    paper = store(tmp_path, "paper", [Cell("baseline", "test error", 1.38, [1.0])])
    assert best_record(TABLE, tmp_path) == paper


def test_printed_numbers_are_counted_by_paper(tmp_path):
    cells = [
        Cell("baseline", "test error", 1.38, [1.4], tolerance=0.1),
        Cell("dropout", "test error", 1.34, [2.0], tolerance=0.1),
    ]
    store(tmp_path, "short", cells)
    vib = counts(tmp_path)[TABLE.paper]
    assert (vib["reproduced"], vib["differs"]) == (1, 1)
    assert vib.total() == sum(
        load_table(name).printed for name in ("vib-table1", "vib-figure2", "vib-figure3")
    )


def test_finished_is_what_the_record_says(tmp_path):
    assert not read_finished(tmp_path, "vib-table1", "short")
    store(tmp_path, "short")
    assert not read_finished(tmp_path, "vib-table1", "short")
    store(tmp_path, "short", finished=True)
    assert read_finished(tmp_path, "vib-table1", "short")
