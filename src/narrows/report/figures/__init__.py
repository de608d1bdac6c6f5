"""The figures of the papers, drawn from what a run measured: `narrows figure NAME RUN`.

Each is a function from a run's folder to the sections of a page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from narrows.experiments.progress import Progress
from narrows.report.figures.aib import beta_sections, curve_sections, projection_sections
from narrows.report.figures.imb import dynamics_sections
from narrows.report.figures.vib import embedding_sections, error_sections
from narrows.report.page import Section

__all__ = ["FIGURES", "Figure"]


class Figure(NamedTuple):
    """What a figure shows, whose it is, and what draws it."""

    title: str
    source: str
    draw: Callable[[Path, Progress], list[Section]]


_AIB = "Zhai & Zhang 2021, arXiv 2103.00381"
_VIB = "Alemi et al. 2017, arXiv 1612.00410"
_IMB = "Nguyen & Choi 2017, arXiv 1712.01272"

FIGURES = {
    "vib-1": Figure("Error and information against beta", f"{_VIB}, Figure 1", error_sections),
    "vib-2": Figure("Posteriors in the plane", f"{_VIB}, Figure 2", embedding_sections),
    "aib-4": Figure("IB curves", f"{_AIB}, Figures 3A and 4", curve_sections),
    "aib-5": Figure("Codes at three betas", f"{_AIB}, Figure 5", projection_sections),
    "aib-6": Figure("Knee and robustness", f"{_AIB}, Figures 3B, 3C and 6", beta_sections),
    "imb-1": Figure("Learning dynamics", f"{_IMB}, Figures 1 and 2", dynamics_sections),
}
