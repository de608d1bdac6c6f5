"""The figures of the papers: `narrows figure NAME FOLDER`.

A figure has two steps. The first measures what the figure needs beyond the records of a run, once,
and stores it there (`narrows.papers`). The second draws.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from narrows.experiments.auditing import read_audit
from narrows.papers.aib import exact_curve, exact_region
from narrows.papers.imb import read_training_plane
from narrows.papers.vib import embeddings, shot_errors
from narrows.report.figures.aib import (
    beta_sections,
    curve_sections,
    exact_sections,
    projection_sections,
)
from narrows.report.figures.imb import dynamics_sections
from narrows.report.figures.vib import embedding_sections, error_sections
from narrows.report.page import Section
from narrows.runs import Progress, Run

__all__ = ["FIGURES", "Figure"]


class Figure(NamedTuple):
    """A figure of a paper.

    Attributes:
        title: what it shows.
        source: paper and number.
        make: measures what is missing in a folder, and draws.
    """

    title: str
    source: str
    make: Callable[[Path, Progress], list[Section]]


def _complete(folder: Path) -> Run:
    return Run.open(folder).require_complete()


def _errors(folder: Path, progress: Progress) -> list[Section]:
    run = _complete(folder)
    return error_sections(run, shot_errors(run, progress))


def _embeddings(folder: Path, progress: Progress) -> list[Section]:
    run = _complete(folder)
    measured = embeddings(run, progress)
    return embedding_sections(run, measured, shot_errors(run, progress))


def _curves(folder: Path, progress: Progress) -> list[Section]:
    run = _complete(folder)
    if run.config.data == "twelve-bit":
        return exact_sections(exact_curve(run, progress), exact_region())
    return curve_sections(run)


def _projections(folder: Path, progress: Progress) -> list[Section]:
    return projection_sections(_complete(folder))


def _betas(folder: Path, progress: Progress) -> list[Section]:
    audits = [read_audit(path.parent) for path in sorted(folder.glob("audits/*/record.json"))]
    return beta_sections(_complete(folder), audits)


def _dynamics(folder: Path, progress: Progress) -> list[Section]:
    return dynamics_sections(read_training_plane(folder))


_AIB = "Zhai & Zhang 2021, arXiv 2103.00381"
_VIB = "Alemi et al. 2017, arXiv 1612.00410"
_IMB = "Nguyen & Choi 2017, arXiv 1712.01272"

FIGURES = {
    "vib-1": Figure("Error and information against beta", f"{_VIB}, Figure 1", _errors),
    "vib-2": Figure("Posteriors in the plane", f"{_VIB}, Figure 2", _embeddings),
    "aib-4": Figure("IB curves", f"{_AIB}, Figures 3A and 4", _curves),
    "aib-5": Figure("Codes at three betas", f"{_AIB}, Figure 5", _projections),
    "aib-6": Figure("Knee and robustness", f"{_AIB}, Figures 3B, 3C and 6", _betas),
    "imb-1": Figure("Learning dynamics", f"{_IMB}, Figures 1 and 2", _dynamics),
}
