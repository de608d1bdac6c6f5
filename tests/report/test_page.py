"""Sections of text, charts and tables become one page, or pictures."""

import json
import re

import altair as alt
import pytest

from narrows.errors import StoreError
from narrows.report.page import Section, write_page, write_pictures
from narrows.report.tables import ResultTable


def chart(label: str = "a") -> alt.Chart:
    rows = [{"x": 1, "name": label}]
    return alt.Chart(alt.Data(values=rows)).mark_point().encode(alt.X("x:Q"), alt.Color("name:N"))


SECTIONS = [
    Section("", ["The verdict."], verdict=True),
    Section("First <b>", ["One & two.", "Three."], chart()),
    Section("Table", table=ResultTable(["a", "b"], [["1", "<i>"]]), wordy=True),
    Section("Second", chart=chart()),
]


def test_a_page_has_its_sections_in_order(tmp_path):
    path = write_page(tmp_path / "page.html", "A & title", "The lead.", SECTIONS)
    page = path.read_text()
    body = page[page.index("<body>") :]
    places = [
        body.index(text)
        for text in (
            "<h1>A &amp; title</h1>", '<p class="dim">The lead.</p>',
            '<p class="verdict">The verdict.</p>', "<h2>First &lt;b&gt;</h2>",
            "<p>One &amp; two.</p>", "<p>Three.</p>", '<div class="chart" id="chart2" role="group"',
            'aria-label="Chart: First &lt;b&gt;">',
            "<h2>Table</h2>", '<table class="results text">',
            '<th scope="col"><button type="button">b</button></th>', "<td>&lt;i&gt;</td>",
            "<h2>Second</h2>", '<div class="chart" id="chart4" role="group"',
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert body.count("<h2>") == 3
    assert body.count('class="chart"') == 2


def test_a_chart_cannot_end_its_script(tmp_path):
    name = "</script><!-- <b>"
    page = write_page(tmp_path / "a.html", "t", "l", [Section("s", chart=chart(name))]).read_text()
    spec = re.findall(r"^  chart1: (.*),$", page, flags=re.MULTILINE)[0]
    assert "<" not in spec
    assert json.loads(spec)["data"]["values"][0]["name"] == name


def test_pictures_are_numbered_by_charts(tmp_path):
    paths = write_pictures(tmp_path / "page", SECTIONS)
    assert [path.name for path in paths] == ["page-1.png", "page-2.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert write_pictures(tmp_path / "none", SECTIONS[:1]) == []
    (pdf,) = write_pictures(tmp_path / "new" / "page", SECTIONS[1:2], "pdf")
    assert pdf == tmp_path / "new" / "page-1.pdf"
    assert pdf.read_bytes().startswith(b"%PDF")


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*page\.html"):
        write_page(tmp_path / "page.html", "t", "l", [])
    assert write_page(tmp_path / "new" / "page.html", "t", "l", []).exists()
