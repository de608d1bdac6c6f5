"""The records that the parts of the library hand to each other. This module imports none of them.

Shapes are written `[samples, batch, ...]`: a leading `samples` axis exists only where a stochastic
model was asked for several draws. Information is in nats throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from torch import Tensor

__all__ = [
    "AttackResult",
    "Batch",
    "Estimate",
    "Finding",
    "Latent",
    "LossTerms",
    "ModelOutput",
    "Norm",
    "Term",
]

Norm = Literal["linf", "l2", "l1", "l0"]


class Batch(NamedTuple):
    """Inputs `x: [batch, ...]` in [0, 1] and integer labels `y: [batch]`."""

    x: Tensor
    y: Tensor


class Latent(NamedTuple):
    """What the bottleneck passes on: a point, and the distribution that it was drawn from.

    Attributes:
        z: `[batch, K]` or `[samples, batch, K]`, the value that the decoder sees.
        mean: `[batch, K]`, the mean of p(z|x). Equal to `z` for a deterministic encoder.
        scale: `None` for a deterministic encoder; `[batch, K]`, the standard deviations of a
            diagonal Gaussian; or `[batch, K, K]`, the Cholesky factor of a full covariance.
        log_scale: `[batch, K]`, the logarithm of `scale`, or of its diagonal, where a model knows
            it; right also where a scale is too small to be told from 0.
    """

    z: Tensor
    mean: Tensor
    scale: Tensor | None = None
    log_scale: Tensor | None = None


class ModelOutput(NamedTuple):
    """What a model returns when it shows more than logits.

    Attributes:
        logits: `[batch, classes]` or `[samples, batch, classes]`.
        latent: the bottleneck's latent, where the model has one.
        activations: named hidden layers, where the model was tapped.
    """

    logits: Tensor
    latent: Latent | None = None
    activations: Mapping[str, Tensor] = MappingProxyType({})


class Term(NamedTuple):
    """One regulariser: its `value` (scalar, unweighted: logs stay comparable) and its weight."""

    value: Tensor
    weight: Tensor | float


class LossTerms(NamedTuple):
    """A loss in its parts: mean prediction loss plus named, weighted regularisers (all scalars)."""

    prediction: Tensor
    regularisers: Mapping[str, Term]

    @property
    def total(self) -> Tensor:
        """Scalar to descend: `prediction + sum(weight * value)`."""
        total = self.prediction
        for value, weight in self.regularisers.values():
            total = total + weight * value
        return total

    def values(self) -> dict[str, Tensor]:
        """Every part by name, detached, for logs: `loss`, `prediction` and each regulariser."""
        parts = {"loss": self.total, "prediction": self.prediction}
        parts |= {name: term.value for name, term in self.regularisers.items()}
        return {name: value.detach() for name, value in parts.items()}


@dataclass(frozen=True)
class Estimate:
    """An information quantity with what is needed to believe or doubt it.

    Attributes:
        nats: the estimate; never clipped, so it can be negative where the estimator can.
        std_error: standard error over the `n` samples, NaN where the estimator has none.
        n: number of samples it was computed from.
        ceiling: the largest value the estimator can return on these samples (`log n`, say), or inf.
        diagnostics: bandwidths, bound direction, saturation flags: whatever it depends on.
    """

    nats: float
    std_error: float
    n: int
    ceiling: float = math.inf
    diagnostics: Mapping[str, object] = field(default_factory=dict)

    @property
    def bits(self) -> float:
        """The estimate in bits, for reports."""
        return self.nats / math.log(2)


@dataclass(frozen=True)
class AttackResult:
    """Outcome of one attack on `n` images.

    Attributes:
        x_adv: `[n, ...]`, the attack's best attempt, inside [0, 1], whether it succeeded or not.
        success: `[n]` bool, decided on the returned images (on fresh draws of a stochastic model).
        distance: `[n]`, size of the perturbation in the attack's norm; inf where it failed, 0 where
            the clean image was misclassified already.
        forwards: images sent forward through the model, all draws and restarts counted.
        backwards: images whose gradient was taken, likewise.
        fooled_rate: `[n]`, share of single draws that are misclassified (0 or 1 if deterministic).
    """

    x_adv: Tensor
    success: Tensor
    distance: Tensor
    forwards: int
    backwards: int
    fooled_rate: Tensor

    @property
    def robust_accuracy(self) -> float:
        """Share of images that the attack left correctly classified."""
        return 1.0 - self.success.double().mean().item()


@dataclass(frozen=True)
class Finding:
    """What one check of an audit found, and what to do about it.

    Attributes:
        check: its name.
        passed: whether nothing speaks against the claim here.
        evidence: the numbers, in a sentence.
        remedy: what to do; empty where nothing needs to be done.
        data: numbers for a plot.
        examined: false where the check had nothing to look at, and says so.
    """

    check: str
    passed: bool
    evidence: str
    remedy: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    examined: bool = True
