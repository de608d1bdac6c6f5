"""Files of tables: what they hold, and what is refused."""

import pytest

from narrows.errors import ConfigError
from narrows.reproduction import tables
from narrows.reproduction.tables import (
    Column,
    PaperRow,
    PaperRun,
    PaperTable,
    Reason,
    find_tables,
    load_table,
    table_names,
)

NAN = float("nan")


def test_the_queue_has_the_papers_one_after_another():
    papers = [name.split("-")[0] for name in table_names()]
    assert list(dict.fromkeys(papers)) == ["vib", "reevaluation", "aib", "imb", "ib"]
    assert papers == sorted(papers, key=["vib", "reevaluation", "aib", "imb", "ib"].index)


def test_the_runs_of_figure_3_are_those_of_table_4():
    figure, table = load_table("ib-rar-figure3"), load_table("ib-rar-table4-vgg16")
    assert figure.runs == {name: table.runs[name] for name in ("ce", "full")}


def test_every_figure_is_drawn_from_something_that_is_there():
    for name in table_names():
        table = load_table(name)
        sources = {"experiment"} if table.experiment else set(table.runs)
        assert {drawn.run for drawn in table.figures} <= sources, name


def test_an_unknown_table_has_near_ones():
    with pytest.raises(ConfigError, match="did you mean 'vib-table1'"):
        load_table("vib-table2")


def test_a_name_may_stand_for_several():
    assert [table.name for table in find_tables("aib-table1")] == [
        "aib-table1-cifar10", "aib-table1-fashion", "aib-table1-mnist",
    ]  # fmt: skip
    assert [table.name for table in find_tables("vib-table1")] == ["vib-table1"]
    assert {table.name.split("-")[0] for table in find_tables("ib-rar")} == {"ib"}
    with pytest.raises(ConfigError, match="unknown table or figure 'aib-tab'"):
        find_tables("aib-tab")


def test_numbers_of_the_papers_are_those_of_their_tables():
    assert [row.values for row in load_table("vib-table1").rows] == [
        [1.38], [1.34], [1.36], [1.40], [1.13],
    ]  # fmt: skip
    aib = load_table("aib-table1-mnist")
    assert aib.rows[4].values == [97.5, 89.5, 72.1, 46.4, 82.5, 46.8, 28.6, 2.204]
    assert load_table("ib-rar-table3").rows[-1].values == [35.86, 90.97]
    printed = sum(load_table(name).printed for name in table_names())
    assert printed >= 404


def test_a_table_has_its_costs():
    runs = {
        "a": PaperRun("x", cpu_hours={"short": 1.0}),
        "b": PaperRun("x", cpu_hours={"short": 0.5, "paper": 3}),
    }
    table = PaperTable("t", "P", "T", "t", [], runs, cpu_hours={"short": 0.25})
    assert (table.hours("short"), table.hours("paper"), table.hours("smoke")) == (1.75, 3, 0)


def test_printed_numbers_are_those_that_are_not_nan():
    rows = [PaperRow("a", "vib", [1.0, NAN])]
    columns = [Column("x", "accuracy"), Column("y", "accuracy")]
    table = PaperTable("t", "P", "T", "t", [], {"main": PaperRun("x")}, columns, rows)
    assert table.printed == 1
    assert [value for *_, value in table.cells] == [1.0, None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [PaperRow("a", "vib", [1.0, 2.0])]}, "row a has 2 values for 1 columns"),
        ({"rows": [PaperRow("a", "vib", [1.0], run="b")]}, "unknown run of t 'b'"),
        ({"reasons": [Reason("b", "e", rows=["z"])]}, "unknown row of t 'z'"),
        ({"reasons": [Reason("b", "e", columns=["z"])]}, "unknown column of t 'z'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(changes, message):
    given = {"runs": {"main": PaperRun("x")}, "columns": [Column("x", "accuracy")], **changes}
    with pytest.raises(ConfigError, match=message):
        PaperTable("t", "P", "T", "t", [], **given)


def test_a_reason_is_for_its_rows_and_columns():
    columns = [Column("x", "accuracy"), Column("y", "accuracy")]
    rows = [PaperRow("a", "vib", [1.0, 1.0]), PaperRow("b", "vib", [1.0, 1.0])]
    reasons = [Reason("one", "e", rows=["a"], columns=["x"]), Reason("two", "e", columns=["y"])]
    table = PaperTable(
        "t", "P", "T", "t", [], {"main": PaperRun("x")}, columns, rows, "", [], [], reasons
    )
    found = {(r, c): table.reason(r, c) for r in "ab" for c in "xy"}
    assert found["a", "x"] == reasons[0]
    assert found["b", "x"] is None
    assert found["a", "y"] == found["b", "y"] == reasons[1]


def test_a_file_with_a_wrong_type_is_named(tmp_path, monkeypatch):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "vib-x.toml").write_text("paper = 3")
    monkeypatch.setattr(tables, "files", lambda package: tmp_path)
    with pytest.raises(ConfigError, match=r"vib-x\.toml: Expected `str`, got `int`"):
        load_table("vib-x")
