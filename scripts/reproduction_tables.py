"""Write the generated parts of README and docs anew, from the records of reproductions.

    python scripts/reproduction_tables.py

A generated part lies between `<!-- generated: NAME -->` and `<!-- end -->`, where NAME is
`coverage` or the name of a table. Nothing between these lines is typed by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import altair as alt

from narrows.report.page import Section, write_pictures
from narrows.report.plots import PALETTE
from narrows.reproduction.markdown import coverage_table, table_markdown
from narrows.reproduction.overview import best_record
from narrows.reproduction.tables import load_table

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "results" / "reproduction"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "reproduction.md",
    ROOT / "docs" / "tables.md",
    ROOT / "docs" / "aib-explained.md",
)
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(name: str) -> str:
    """The part of that name."""
    return (
        coverage_table(RECORDS) if name == "coverage" else table_markdown(load_table(name), RECORDS)
    )


def renewed(text: str) -> str:
    """A page with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{generated(part[2])}\n\n{part[3]}", text)


def attack_chart(name: str) -> Any:
    """Accuracy of each row of a table, attack by attack, with the spread over seeds."""
    table = load_table(name)
    record = best_record(table, RECORDS)
    attacks = [column.name for column in table.columns if column.unit == "%"]
    rows = [
        {
            "network": cell.row,
            "attack": cell.column,
            "accuracy": cell.mean,
            "low": max(0.0, cell.mean - (cell.spread or 0.0)),
            "high": min(100.0, cell.mean + (cell.spread or 0.0)),
        }
        for cell in (record.cells if record else [])
        if cell.column in attacks and cell.values
    ]
    networks = [row.name for row in table.rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("attack:N", sort=attacks, title=None, axis=alt.Axis(labelAngle=-20)),
        xOffset=alt.XOffset("network:N", sort=networks),
        color=alt.Color("network:N", sort=networks, scale=alt.Scale(range=PALETTE[1:]), title=None),
    )
    bars = base.mark_bar().encode(
        y=alt.Y("accuracy:Q", title="accuracy that is left, %", scale=alt.Scale(domain=[0, 100]))
    )
    spread = base.mark_rule(color="black").encode(y="low:Q", y2="high:Q", color=alt.value("black"))
    return (bars + spread).properties(width=720, height=280)


def main() -> None:
    """Write all pages and the chart."""
    for page in PAGES:
        page.write_text(renewed(page.read_text()))
    chart = attack_chart("aib-explained")
    stem = ROOT / "docs" / "results" / "figures" / "aib-explained"
    (picture,) = write_pictures(stem, [Section("", [], chart)])
    picture.replace(stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
