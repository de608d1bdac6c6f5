"""Write the generated parts of README and docs anew, from the records of reproductions.

    python scripts/reproduction_tables.py

A generated part lies between `<!-- generated: NAME -->` and `<!-- end -->`, where NAME is
`coverage` or the name of a table. Nothing between these lines is typed by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from narrows.reproduction.markdown import coverage_table, table_markdown
from narrows.reproduction.tables import load_table

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "results" / "reproduction"
PAGES = (ROOT / "README.md", ROOT / "docs" / "reproduction.md", ROOT / "docs" / "tables.md")
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(name: str) -> str:
    """The part of that name."""
    return (
        coverage_table(RECORDS) if name == "coverage" else table_markdown(load_table(name), RECORDS)
    )


def renewed(text: str) -> str:
    """A page with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{generated(part[2])}\n\n{part[3]}", text)


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        page.write_text(renewed(page.read_text()))


if __name__ == "__main__":
    main()
