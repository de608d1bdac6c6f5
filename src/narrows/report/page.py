"""A page of charts and tables in one HTML file that needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import altair as alt
import jinja2
import vl_convert

from narrows.report.tables import ResultTable
from narrows.runs.files import make_folder
from narrows.storage import write_atomically

__all__ = [
    "Section",
    "render",
    "without_folders",
    "write_page",
    "write_picture",
    "write_pictures",
]


@dataclass(frozen=True)
class Section:
    """A part of a page: what it says, then a chart, then a table, each where there is one.

    Args:
        title: heading; empty for none.
        text: paragraphs.
        chart: of Altair.
        table: columns and rows of text.
        wordy: whether the cells of the table hold sentences.
        verdict: whether the paragraphs are what the page is about.
    """

    title: str
    text: Sequence[str] = ()
    chart: Any = None
    table: ResultTable | None = None
    wordy: bool = False
    verdict: bool = False


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write a page of sections and return its path.

    Args:
        path: of the HTML file.
        title: of the page.
        lead: paragraph below the title.
        sections: the rest.

    Raises:
        StoreError: if it cannot be written.
    """
    charts = {f"chart{i}": s.chart for i, s in enumerate(sections, start=1) if s.chart is not None}
    return render(path, "page.html.j2", title, charts, lead=lead, sections=sections)


def write_pictures(stem: Path, sections: Sequence[Section], kind: str = "png") -> list[Path]:
    """Write the sections' charts as `<stem>-<number>.<kind>`, and return their paths.

    Args:
        stem: of the files.
        sections: of a page.
        kind: `"png"` or `"pdf"`.

    Raises:
        StoreError: if one cannot be written.
    """
    charts = [section.chart for section in sections if section.chart is not None]
    return [
        write_picture(stem.with_name(f"{stem.name}-{number}.{kind}"), chart)
        for number, chart in enumerate(charts, start=1)
    ]


def write_picture(path: Path, chart: Any) -> Path:
    """Draw a chart as its page first shows it, and return the path.

    Args:
        path: of the file, which ends in `.png` or `.pdf`.
        chart: of Altair.

    Raises:
        StoreError: if it cannot be written.
    """
    if path.suffix == ".pdf":
        picture = vl_convert.vegalite_to_pdf(_spec(chart), _vl_version())
    else:
        picture = vl_convert.vegalite_to_png(_spec(chart), _vl_version(), scale=2)
    make_folder(path.parent)
    write_atomically(path, picture)
    return path


def render(
    path: Path, template: str, title: str, charts: Mapping[str, object], **values: Any
) -> Path:
    """Fill in a template of this package, its charts with the JavaScript that draws them.

    Args:
        path: of the HTML file.
        template: name of its file.
        title: of the page.
        charts: of Altair, by the id of the element that each is drawn in.
        values: whatever else the template reads.

    Raises:
        StoreError: if it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("narrows.report"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template(template).render(
        title=title,
        script=_vega_embed(),
        charts={name: _embeddable(chart) for name, chart in charts.items()},
        **values,
    )
    make_folder(path.parent)
    write_atomically(path, page.encode())
    return path


def without_folders(text: str) -> str:
    """A command or a name with the last part of each absolute path: a page may be passed on.

    >>> without_folders("narrows run --data=/home/ada/mine.npz --out runs")
    'narrows run --data=mine.npz --out runs'
    """
    return re.sub(r"(?:(?<=[\s='\"])|^)/(?:[^/\s'\"]*/)*([^/\s'\"]+)/?", r"\1", text)


def _embeddable(chart: Any) -> str:
    """The chart as JSON that may stand inside a script element."""
    # Neither an end tag nor a comment may begin in there, whatever a name in the data says.
    return json.dumps(_spec(chart)).replace("<", "\\u003c")


def _spec(chart: Any) -> dict[str, Any]:
    themed = chart.configure_axis(labelFontSize=12, titleFontSize=13, gridColor="#e6e6e6")
    themed = themed.configure_legend(labelFontSize=12, titleFontSize=13)
    return themed.configure_header(labelFontSize=13).configure_view(stroke=None).to_dict()


def _vega_embed() -> str:
    """The charts' JavaScript; defines `vegaEmbed`."""
    # Its type stub asks for a snippet; without one it returns the whole bundle.
    bundle = cast("Callable[..., str]", vl_convert.javascript_bundle)
    return bundle(vl_version=_vl_version())


def _vl_version() -> str:
    """Altair's version of Vega-Lite."""
    return ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
