"""The model that a reader has picked: every linked chart of a page highlights it.

A linked chart has two parameters, a method and a beta. The page's script sets both in all charts
when a model is picked in one of them. In a picture none is picked.
"""

from __future__ import annotations

from typing import Any

import altair as alt

__all__ = ["BETA", "METHOD", "highlighted", "highlighted_method", "linked"]

METHOD, BETA = "picked_method", "picked_beta"
"""Names of the parameters; each is null where any method or beta will do."""

_OF_METHOD = f"({METHOD} === null || datum.method === {METHOD})"
_OF_BETA = f"({BETA} === null || datum.beta === {BETA})"
_FAINT = 0.12


def linked(chart: Any) -> Any:
    """The chart with the parameters of what is picked.

    Args:
        chart: of Altair, from rows with `method` and, but for whole lines, `beta`.
    """
    return chart.add_params(alt.param(name=METHOD, value=None), alt.param(name=BETA, value=None))


def highlighted(opacity: float) -> alt.OpacityValue:
    """The opacity of a mark that stands for a model: faint where another one is picked.

    Args:
        opacity: where none or this model is picked.
    """
    return _opacity(f"{_OF_METHOD} && {_OF_BETA}", opacity)


def highlighted_method(opacity: float) -> alt.OpacityValue:
    """The opacity of a mark that stands for a method: faint where another one is picked.

    Args:
        opacity: where none or this method is picked.
    """
    return _opacity(_OF_METHOD, opacity)


def _opacity(test: str, opacity: float) -> alt.OpacityValue:
    shown = {"test": test, "value": opacity}
    return alt.OpacityValue(_FAINT * opacity, condition=shown)
