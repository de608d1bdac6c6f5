"""One HTML file that needs nothing else: charts, images, table, and what to make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from narrows.report import plots, rows
from narrows.report.conclusions import conclusions
from narrows.report.images import data_uri
from narrows.report.page import render, without_folders, write_picture
from narrows.report.remarks import remarks
from narrows.report.tables import chosen_table, full_table
from narrows.runs import Run
from narrows.runs.pictures import ATTACKED

__all__ = ["write_charts", "write_html"]


def write_html(run: Run) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    charts = _charts(run)
    path = run.path / "report.html"
    render(
        path,
        "report.html.j2",
        title=f"narrows: {run.config.data_name}",
        charts=charts,
        run=run,
        conclusions=conclusions(run),
        remarks=remarks(run),
        headline=chosen_table(run, [run.config.evaluate.middle_eps], rows.attacked(run)),
        table=full_table(run),
        gallery=_gallery(run),
        middle_eps=run.config.evaluate.middle_eps,
        config=json.dumps(msgspec.to_builtins(run.config.without_places()), indent=1),
        command=without_folders(run.environment.command or ""),
        environment=run.environment,
    )
    return path


def write_charts(run: Run, folder: Path, kind: str) -> list[Path]:
    """Write the charts of the page as `<run>-<chart>.<kind>` into a folder and return their paths.

    Args:
        run: a complete one.
        folder: is created where it is missing.
        kind: `"png"` or `"pdf"`.
    """
    return [
        write_picture(folder / f"{run.path.name}-{name}.{kind}", chart)
        for name, chart in _charts(run).items()
    ]


def _charts(run: Run) -> dict[str, Any]:
    charts: dict[str, Any] = {}
    if members := rows.model_rows(run):
        bits = rows.label_bits(run)
        charts["curves"] = plots.ib_curves(members, rows.knee_rows(run), bits)
        charts["projection"] = plots.projections(rows.projection_rows(run))
    if rows.attacked(run):
        charts["eps"] = plots.accuracy_against_eps(rows.accuracy_against_eps(run))
        if swept := rows.accuracy_against_beta(run):
            charts["beta"] = plots.accuracy_against_beta(swept, run.config.evaluate.eps)
    return charts


def _gallery(run: Run) -> list[dict[str, Any]]:
    """Clean and attacked images of each method's chosen beta, with the predicted classes."""
    gallery = []
    for method in rows.trained_methods(run):
        pictures = run.pictures(method)
        if "clean" not in pictures or pictures["clean"].dim() != 4:
            continue
        labels = pictures["label"].tolist()
        lines = []
        for name in ATTACKED:
            predicted = pictures[f"{name}_predicted"].tolist()
            cells = [
                {"source": data_uri(image), "says": says, "right": says == label}
                for image, says, label in zip(pictures[name], predicted, labels, strict=True)
            ]
            lines.append({"name": name, "cells": cells})
        beta = run.summary[method].chosen_beta
        gallery.append({"method": method, "beta": beta, "rows": lines})
    return gallery
