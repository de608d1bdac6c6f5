"""The estimators of information by name: what each measures, what it needs, where it is from.

To add one, write it in a module of its own, import it here, name it in `__all__` and describe it in
`ESTIMATORS`. `tests/information/test_registry.py` says what is still missing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from narrows.information.binning import binned_rate, binned_relevance
from narrows.information.critic import CriticConfig, fit_critic
from narrows.information.kde import kde_bounds, kde_relevance
from narrows.information.known import (
    Known,
    correlated_gaussians,
    gaussian_channel,
    gaussian_classes,
)
from narrows.information.ksg import ksg, ksg_relevance
from narrows.information.posterior import posterior_information
from narrows.information.renyi import renyi_information
from narrows.information.variational import variational_rate, variational_relevance
from narrows.types import Estimate

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "binned_rate",
    "binned_relevance",
    "fit_critic",
    "kde_bounds",
    "kde_relevance",
    "ksg",
    "ksg_relevance",
    "posterior_information",
    "renyi_information",
    "variational_rate",
    "variational_relevance",
]


@dataclass(frozen=True)
class Estimator:
    """One estimator with what describes it. It is called like its function.

    Attributes:
        function: takes tensors and returns an `Estimate`, or two.
        measures: the quantity of each estimate: "I(X;Z)", "I(Z;Y)", or what stands in for them.
            One name for two estimates means a lower and an upper bound of it.
        needs: its inputs, in words.
        source: the paper: authors, year, and where it can be found.
        randomness: the parameter that its random draws come from; "none" if it draws nothing.
        example: arguments for it, drawn in any number, and the true value of all that it measures.

    Example:
        >>> x, z = ESTIMATORS["ksg"].example.sample(500)
        >>> abs(ESTIMATORS["ksg"](x, z).nats - ESTIMATORS["ksg"].example.information) < 0.1
        True
    """

    function: Callable[..., Estimate | tuple[Estimate, Estimate]]
    measures: tuple[str, ...]
    needs: str
    source: str
    randomness: Literal["none", "seed", "generator"]
    example: Known

    def __call__(self, *arguments: Any, **options: Any) -> Estimate | tuple[Estimate, Estimate]:
        """Call the function."""
        return self.function(*arguments, **options)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the parameters that have no default: x, z, y, mean, scale or logits."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(part.name for part in parameters if part.default is part.empty)

    @property
    def claim(self) -> str:
        """The first sentence of its documentation."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0].rstrip(".")


def _two_classes(choose: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]) -> Known:
    """Two classes, one standard deviation apart: arguments chosen from mean, z and labels."""
    known = gaussian_classes([0.5, 0.5], apart=1.0)
    return Known(known.information, lambda n, draw: choose(*known.draw(n, draw)))


def _logits(z: Tensor) -> Tensor:
    """Logits of the true p(y|z) of these two classes."""
    return (z - 0.5) @ z.new_tensor([[-0.5, 0.5]])


def _clusters(n: int) -> tuple[Tensor, Tensor]:
    """Points at one of two places, x at 0 or 1 and z at 0 or -1, half of the samples at each."""
    place = torch.arange(n, dtype=torch.float64)[:, None] % 2
    return place, -place


def _quick_critic() -> Known:
    known, config = correlated_gaussians(0.5), CriticConfig(steps=100)
    return Known(known.information, lambda n, draw: (*known.draw(n, draw), "infonce", config))


ESTIMATORS: dict[str, Estimator] = {
    "variational_rate": Estimator(
        variational_rate,
        ("I(X;Z)",),
        "mean and scale of a Gaussian p(z|x) at each sample",
        "Alemi et al. (2017), arXiv 1612.00410",
        "none",
        gaussian_channel(),
    ),
    "variational_relevance": Estimator(
        variational_relevance,
        ("I(Z;Y)",),
        "logits of a decoder, on samples that it was not trained on, and labels",
        "Alemi et al. (2017), arXiv 1612.00410",
        "none",
        _two_classes(lambda mean, z, y: (_logits(z), y)),
    ),
    "kde_bounds": Estimator(
        kde_bounds,
        ("I(X;Z)",),
        "mean and scale of a Gaussian p(z|x) at each sample, or a code and the noise to add to it",
        "Kolchinsky & Tracey (2017), arXiv 1706.02419",
        "none",
        gaussian_channel(),
    ),
    "kde_relevance": Estimator(
        kde_relevance,
        ("I(Z;Y)",),
        "as kde_bounds, and labels",
        "Kolchinsky & Tracey (2017), arXiv 1706.02419",
        "none",
        _two_classes(lambda mean, z, y: (mean, mean * 0 + 1, y)),
    ),
    "posterior_information": Estimator(
        posterior_information,
        ("I(X;Z)", "I(Z;Y)"),
        "mean and scale of a Gaussian p(z|x) at every input that there is, and labels",
        "Kolchinsky & Tracey (2017), arXiv 1706.02419",
        "generator",
        _two_classes(lambda mean, z, y: (mean, mean * 0 + 1, y)),
    ),
    "binned_rate": Estimator(
        binned_rate,
        ("H(bin(Z))",),
        "a deterministic code z of inputs that are all different",
        "Shwartz-Ziv & Tishby (2017), arXiv 1703.00810",
        "none",
        Known(math.log(30), lambda n, draw: (torch.rand(n, 1, generator=draw).double(),)),
    ),
    "binned_relevance": Estimator(
        binned_relevance,
        ("I(Z;Y)",),
        "a code z of few columns, and labels",
        "Shwartz-Ziv & Tishby (2017), arXiv 1703.00810",
        "none",
        _two_classes(lambda mean, z, y: (z, y)),
    ),
    "renyi_information": Estimator(
        renyi_information,
        ("Renyi's I(X;Z)",),
        "two vectors x and z, and a bandwidth",
        "Sanchez Giraldo et al. (2015), arXiv 1211.2459",
        "none",
        Known(math.log(2), lambda n, draw: _clusters(n)),
    ),
    "ksg": Estimator(
        ksg,
        ("I(X;Z)",),
        "two vectors x and z of few columns",
        "Kraskov et al. (2004), arXiv cond-mat/0305641",
        "none",
        correlated_gaussians(0.5),
    ),
    "ksg_relevance": Estimator(
        ksg_relevance,
        ("I(Z;Y)",),
        "a code z of few columns, and labels",
        "Ross (2014), PLoS ONE 9",
        "none",
        _two_classes(lambda mean, z, y: (z, y)),
    ),
    "fit_critic": Estimator(
        fit_critic,
        ("I(X;Z)",),
        "two vectors x and z, and thousands of samples",
        "Poole et al. (2019), arXiv 1905.06922",
        "seed",
        _quick_critic(),
    ),
}
