"""Tables on the console."""

import io

from rich.console import Console

from narrows.reproduction.console import list_table, result_table
from narrows.reproduction.overview import Overview
from narrows.reproduction.records import Cell, ReproductionRecord
from narrows.reproduction.tables import load_table


def shown(table):
    console = Console(file=(file := io.StringIO()), width=200)
    console.print(table)
    return file.getvalue()


def test_the_list_has_needs_and_state():
    entries = [
        Overview(load_table("vib-table1"), {"short": "5 of 5 cells, 3 seeds"}),
        Overview(load_table("ib-rar-table3"), {}),
    ]
    text = shown(list_table(entries))
    vib, rar = text.split("ib-rar-table3")
    assert "Alemi et al. 2017" in vib
    assert "mnist; 1.4 CPU-hours, 14 at the paper's length; 1 GiB; short: 5 of 5 cells" in vib
    assert "cifar10; 3.6 CPU-hours, 180 at the paper's length or 81 GPU-minutes" in rar
    assert "not run" in rar


def test_a_result_has_both_numbers_and_the_distance_in_standard_errors():
    cells = [
        Cell("baseline", "test error", 1.38, [1.4, 1.6], tolerance=0.1),
        Cell("dropout", "test error", 1.34, note="every model has diverged"),
    ]
    record = ReproductionRecord("vib-table1", "short", cells)
    lines = shown(result_table(load_table("vib-table1"), record)).splitlines()
    baseline = next(line for line in lines if "baseline" in line)
    for part in ("1.38", "1.50", "0.14", " 2 ", "+1.2", "reproduced"):
        assert part in baseline
    assert any("differs: every model has diverged" in line for line in lines)
