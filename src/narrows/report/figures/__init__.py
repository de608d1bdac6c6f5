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
from narrows.papers.ib_rar_figures import last_layer_maps
from narrows.papers.ib_rar_plane import read_dependences
from narrows.papers.imb import read_training_plane
from narrows.papers.toys import read_toy
from narrows.papers.vib import embeddings, shot_errors
from narrows.report.figures.aib import (
    beta_sections,
    curve_sections,
    exact_sections,
    projection_sections,
)
from narrows.report.figures.ib_rar import dependence_sections, map_sections
from narrows.report.figures.imb import dynamics_sections
from narrows.report.figures.toys import sample_section, toy_sections
from narrows.report.figures.vib import embedding_sections, error_sections
from narrows.report.page import Section, write_page
from narrows.runs import Progress, Run
from narrows.runs.files import make_folder

__all__ = ["FIGURES", "Figure", "draw_figure"]


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


def _first_toy(folder: Path, progress: Progress) -> list[Section]:
    return [*toy_sections(read_toy(folder, "toy1")), sample_section()]


def _second_toy(folder: Path, progress: Progress) -> list[Section]:
    return toy_sections(read_toy(folder, "toy2"))


def _maps(folder: Path, progress: Progress) -> list[Section]:
    run = _complete(folder)
    return map_sections(last_layer_maps(run, progress), run.class_names)


def _dependences(folder: Path, progress: Progress) -> list[Section]:
    return dependence_sections(read_dependences(folder))


_AIB = "Zhai & Zhang 2021, arXiv 2103.00381"
_VIB = "Alemi et al. 2017, arXiv 1612.00410"
_IMB = "Nguyen & Choi 2017, arXiv 1712.01272"
_IB_RAR = "Xu et al. 2022, arXiv 2302.10896"
_REEVALUATION = "Korshunova et al. 2021, arXiv 2107.05712"

FIGURES = {
    "vib-1": Figure("Error and information against beta", f"{_VIB}, Figure 1", _errors),
    "vib-2": Figure("Posteriors in the plane", f"{_VIB}, Figure 2", _embeddings),
    "aib-4": Figure("IB curves", f"{_AIB}, Figures 3A and 4", _curves),
    "aib-5": Figure("Codes at three betas", f"{_AIB}, Figure 5", _projections),
    "aib-6": Figure("Knee and robustness", f"{_AIB}, Figures 3B, 3C and 6", _betas),
    "imb-1": Figure("Learning dynamics", f"{_IMB}, Figures 1 and 2", _dynamics),
    "ib-rar-3": Figure("Last hidden layer by t-SNE", f"{_IB_RAR}, Figure 3", _maps),
    "ib-rar-5": Figure("Dependence of a layer in training", f"{_IB_RAR}, Figure 5", _dependences),
    "reevaluation-5": Figure("First toy task", f"{_REEVALUATION}, Figures 5 and 6", _first_toy),
    "reevaluation-7": Figure("Second toy task", f"{_REEVALUATION}, Figure 7", _second_toy),
}


def draw_figure(name: str, folder: Path, progress: Progress) -> tuple[Path, list[Section]]:
    """Draw a figure of a folder into its folder `figures`.

    Args:
        name: one of `FIGURES`.
        folder: of a run, or of what else the figure is drawn from.
        progress: where progress is shown.

    Returns:
        The page, and its sections.

    Raises:
        NarrowsError: where the folder has not what the figure shows.
    """
    figure = FIGURES[name]
    sections = figure.make(folder, progress)
    path = make_folder(folder / "figures") / f"{name}.html"
    lead = f"After {figure.source}. {folder.resolve().name}"
    return write_page(path, figure.title, lead, sections), sections
