"""One HTML file that needs nothing else: charts, images, table, and what to make of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from narrows.errors import StoreError
from narrows.experiments.summary import has_latent
from narrows.report import plots
from narrows.report.images import data_uri
from narrows.report.page import render
from narrows.report.remarks import remarks
from narrows.report.rows import Run
from narrows.report.tables import full_table

__all__ = ["write_html"]


def write_html(run: Run) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    charts = _charts(run)
    path = run.path / "report.html"
    render(
        path,
        "report.html.j2",
        title=f"narrows: {run.config['data']}",
        charts=charts,
        run=run,
        remarks=remarks(run),
        table=full_table(run),
        gallery=_gallery(run),
        middle_eps=_middle(run.config["evaluate"]["eps"]),
        config=json.dumps(run.config, indent=1),
        environment=run.environment,
    )
    return path


def _charts(run: Run) -> dict[str, Any]:
    charts: dict[str, Any] = {}
    if members := run.members():
        charts["curves"] = plots.ib_curves(members, run.knees(), label_bits(run))
        charts["projection"] = plots.projections(run.projection())
    if run.attacked:
        charts["eps"] = plots.accuracy_against_eps(run.against_eps())
        if swept := run.against_beta():
            charts["beta"] = plots.accuracy_against_beta(swept, run.config["evaluate"]["eps"])
    return charts


def label_bits(run: Run) -> float:
    """H(Y) of the labels of the test set's measured part, in bits.

    Raises:
        StoreError: if no model of the run has a latent, which it is measured beside.
    """
    measured = [r for records in run.records.values() for r in records if has_latent(r)]
    if not measured:
        raise StoreError(f"no model of {run.path} has a latent whose I(X;Z) was measured")
    diagnostics = measured[0]["information"]["test"]["kde_relevance_upper"]["diagnostics"]
    return diagnostics["label_entropy"] / math.log(2)


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
