"""One HTML file that needs nothing else: charts, images, table, and what to make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import altair as alt
import jinja2
import vl_convert

from narrows.report import plots
from narrows.report.images import data_uri
from narrows.report.remarks import remarks
from narrows.report.rows import Run
from narrows.report.tables import full_table
from narrows.training.checkpoint import write_atomically

__all__ = ["write_html"]


def write_html(run: Run) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    charts = _charts(run)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("narrows.report"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        run=run,
        script=_vega_embed(),
        charts={name: _embeddable(chart) for name, chart in charts.items()},
        remarks=remarks(run),
        table=full_table(run),
        gallery=_gallery(run),
        middle_eps=_middle(run.config["evaluate"]["eps"]),
        config=json.dumps(run.config, indent=1),
        environment=run.environment,
    )
    path = run.path / "report.html"
    write_atomically(path, page.encode())
    return path


def _charts(run: Run) -> dict[str, Any]:
    charts: dict[str, Any] = {
        "curves": plots.ib_curves(run.members(), run.knees(), label_bits(run)),
        "projection": plots.projections(run.projection()),
    }
    if run.attacked:
        charts["eps"] = plots.accuracy_against_eps(run.against_eps())
        if swept := run.against_beta():
            charts["beta"] = plots.accuracy_against_beta(swept, run.config["evaluate"]["eps"])
    return charts


def label_bits(run: Run) -> float:
    """H(Y) of the labels of the test set's measured part, in bits."""
    first = next(iter(run.records.values()))[0]
    diagnostics = first["information"]["test"]["kde_relevance_upper"]["diagnostics"]
    return diagnostics["label_entropy"] / math.log(2)


def _embeddable(chart: Any) -> str:
    """The chart as JSON that may stand inside a script element."""
    themed = chart.configure_axis(labelFontSize=12, titleFontSize=13, gridColor="#e6e6e6")
    themed = themed.configure_legend(labelFontSize=12, titleFontSize=13)
    themed = themed.configure_header(labelFontSize=13).configure_view(stroke=None)
    return json.dumps(themed.to_dict()).replace("</", "<\\/")


def _gallery(run: Run) -> list[dict[str, Any]]:
    """Clean and attacked images of each method's chosen beta, with what the model says."""
    gallery = []
    for method, pictures in run.pictures.items():
        if "clean" not in pictures or pictures["clean"].dim() != 4:
            continue
        labels = pictures["label"].tolist()
        rows = []
        for name in ("clean", "pgd", "deepfool"):
            said = pictures[f"{name}_says"].tolist()
            cells = [
                {"source": data_uri(image), "says": says, "right": says == label}
                for image, says, label in zip(pictures[name], said, labels, strict=True)
            ]
            rows.append({"name": name, "cells": cells})
        beta = run.summary[method]["chosen_beta"]
        gallery.append({"method": method, "beta": beta, "rows": rows})
    return gallery


def _middle(values: list[float]) -> float:
    return values[len(values) // 2]


def _vega_embed() -> str:
    """The charts' JavaScript for Altair's version of Vega-Lite; defines `vegaEmbed`."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    # Its type stub asks for a snippet; without one it returns the whole bundle.
    return cast("Callable[..., str]", vl_convert.javascript_bundle)(vl_version=version)
