"""Estimate I(X;Z) of samples with all estimators that apply, each tried on known samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_labels, check_samples
from narrows.errors import InputError, unknown_name
from narrows.information._checks import check_pair, check_seed
from narrows.information.discrete import label_rows
from narrows.information.known import (
    Known,
    correlated_gaussians,
    coupled_values,
    gaussian_classes,
)
from narrows.information.registry import ESTIMATORS
from narrows.types import Estimate

__all__ = ["Reading", "Survey", "Trial", "estimate"]

_SHARE, _LEAST = 0.1, 0.05
# Levels of known information, as shares of log n, of H(Y), and of the samples that are coupled.
_OF_LOG_N = (0.0, 0.05, 0.1, 0.2, 0.4)
_OF_ENTROPY = (0.0, 0.25, 0.5, 0.75, 1.0)
_APART = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)
# With this width every whole number is a bin of its own.
_OF_VALUES = {"binned_relevance": {"width": 1.0}}

_STAND_INS = {
    "vectors": "correlated Gaussians",
    "labels": "Gaussian classes of the same frequencies",
    "values": "the same values and labels, coupled",
}

Kind = Literal["vectors", "labels", "values"]
_Call = Callable[[Tensor, Tensor], Estimate | tuple[Estimate, Estimate]]


@dataclass(frozen=True)
class Trial:
    """What an estimator says of samples whose information is known, in nats.

    Attributes:
        truth: the known information.
        mean: mean estimate over draws; NaN where the estimator refused the samples.
        std_error: of that mean.
        recovered: whether the mean is within 10 % of the truth, or 0.05 nats, and two standard
            errors.
    """

    truth: float
    mean: float
    std_error: float
    recovered: bool

    def __str__(self) -> str:
        return _number(self.mean) + ("" if self.recovered else " !")


@dataclass(frozen=True)
class Reading:
    """One estimator on the samples, and on samples whose information is known.

    Attributes:
        estimator: its name in `ESTIMATORS`; with the direction, where it returns two bounds.
        estimate: of the samples.
        bits: the estimate in bits.
        trials: of the known samples, by rising information.
        believable: whether the known samples are recovered at every level up to the first above
            the estimate. An estimator that finds little everywhere fails at that one, and one that
            finds much everywhere fails at those below.
    """

    estimator: str
    estimate: Estimate
    bits: float
    trials: tuple[Trial, ...]
    believable: bool


@dataclass(frozen=True)
class Survey:
    """What all estimators say of the information in two sets of samples. `print` shows a table.

    Attributes:
        n: number of samples.
        columns: of x and of z.
        kind: "vectors", "labels" (z are labels) or "values" (x are whole numbers that repeat, and
            z are labels); it decides which estimators apply and what the known samples are.
        readings: of the estimators that apply.
        refused: why the others do not, by name.
    """

    n: int
    columns: tuple[int, int]
    kind: Kind
    readings: tuple[Reading, ...]
    refused: Mapping[str, str]

    def __str__(self) -> str:
        of_x, of_z = (f"{count} column{'s' * (count > 1)}" for count in self.columns)
        lines = [f"{self.n} samples: {of_x} and {of_z if self.kind == 'vectors' else 'labels'}", ""]
        lines += _table(
            ["estimate", "nats", "bits", "std. error", "ceiling", "believable"],
            [[reading.estimator, *_cells(reading)] for reading in self.readings],
        )
        if self.readings:
            lines += ["", f"Calibration, in nats, on {_STAND_INS[self.kind]}; ! marks a miss"]
            truths = [_number(trial.truth) for trial in self.readings[0].trials]
            trials = [[row.estimator, *map(str, row.trials)] for row in self.readings]
            lines += _table(["known information", *truths], trials)
        for reading in self.readings:
            if warning := reading.estimate.diagnostics.get("warning"):
                lines += ["", f"{reading.estimator} warns: {warning}"]
        if self.refused:
            lines += ["", "Do not apply:"]
            lines += [f"  {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)


def estimate(
    x: ArrayLike,
    z: ArrayLike,
    estimators: Iterable[str] | None = None,
    draws: int = 2,
    seed: int = 0,
) -> Survey:
    """Estimate I(X;Z) with every estimator that applies, and find out which can be believed.

    Each estimator is also tested on calibration sets: as many samples with as many columns
    whose information is known. For vectors these are pairs of correlated Gaussians; for labels,
    Gaussian classes of the same frequencies; for whole numbers that repeat, the same values and
    frequencies, coupled (`known.py`). An estimator that misses the truth there
    cannot be believed at this n and in this dimension. One that finds it may still fail where
    samples are less regular than the calibration sets.

    Args:
        x: `[n, D]`, or `[n]` for one column.
        z: likewise, or labels: a single column of an integer type. Labels as x and vectors as z
            are exchanged, which changes no mutual information.
        estimators: names in `ESTIMATORS`; None for all.
        draws: calibration sets at each of five levels of information.
        seed: of the calibration sets, and of estimators that draw.

    Raises:
        InputError: for NaN, wrong shapes, unequal lengths or fewer than 2 samples.
        ConfigError: for an unknown estimator.

    Example:
        >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(0))
        >>> [reading] = estimate(x, x + noise, ["ksg"]).readings
        >>> abs(reading.estimate.bits - 0.5) < 0.1, reading.believable
        (True, True)
    """
    names = _check_names(estimators)
    draws, seed = check_count(draws, "draws", 1, InputError), check_seed(seed)
    x, z, kind = _sorted(as_tensor(x, "x"), as_tensor(z, "z"))
    calls, refused = _applicable(names, kind, z, seed)
    known = _stand_ins(x, z, kind)
    readings = []
    for name, call in calls.items():
        try:
            results = _estimates(call, x, z)
        except InputError as error:
            refused[name] = str(error)
            continue
        trials = [_trials(call, case, len(x), draws, len(results), seed) for case in known]
        for i, result in enumerate(results):
            label = f"{name}, {result.diagnostics['bound']}" if len(results) > 1 else name
            readings.append(_reading(label, result, tuple(trial[i] for trial in trials)))
    columns = (x.shape[1], z.shape[1] if z.dim() > 1 else 1)
    return Survey(len(x), columns, kind, tuple(readings), refused)


def _check_names(estimators: Iterable[str] | None) -> list[str]:
    names = list(ESTIMATORS if estimators is None else estimators)
    for name in names:
        if name not in ESTIMATORS:
            raise unknown_name("estimator", str(name), ESTIMATORS)
    return names


def _sorted(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Kind]:
    """Samples in float64, labels in z, and what kind they are."""
    if _are_labels(x) and not _are_labels(z):
        x, z = z, x
    whole = not x.is_floating_point()
    samples = check_samples(x, "x")
    if not _are_labels(z):
        return *check_pair(samples, check_samples(z, "z")), "vectors"
    y = check_labels(z.flatten(), len(samples), name="z").to(samples.device)
    repeats = whole and 2 * (int(label_rows(samples).max()) + 1) <= len(samples)
    return samples, y, "values" if repeats else "labels"


def _are_labels(samples: Tensor) -> bool:
    one_column = samples.dim() == 1 or (samples.dim() == 2 and samples.shape[1] == 1)
    return one_column and not samples.is_floating_point() and samples.dtype != torch.bool


def _applicable(
    names: Sequence[str], kind: Kind, z: Tensor, seed: int
) -> tuple[dict[str, _Call], dict[str, str]]:
    """How to call each estimator that applies on x and z, and why the others do not."""
    calls: dict[str, _Call] = {}
    refused: dict[str, str] = {}
    for name in names:
        entry = ESTIMATORS[name]
        settings = dict(_OF_VALUES.get(name, {})) if kind == "values" else {}
        settings |= {"seed": seed} if entry.randomness == "seed" else {}
        if not {"I(X;Z)", "I(Z;Y)"} & set(entry.measures):
            refused[name] = f"measures {', '.join(entry.measures)}, which is another quantity"
        elif entry.inputs not in {("x", "z"), ("z", "y")}:
            refused[name] = f"needs {entry.needs}"
        elif entry.inputs == ("z", "y") and kind == "vectors":
            refused[name] = f"needs {entry.needs}: one column of whole numbers"
        elif entry.inputs == ("x", "z") and kind != "vectors":
            calls[name] = lambda x, y, f=entry, s=settings: f(x, _one_hot(y), **s)
        else:
            calls[name] = lambda x, z, f=entry, s=settings: f(x, z, **s)
    return calls, refused


def _one_hot(y: Tensor) -> Tensor:
    return F.one_hot(y.unique(return_inverse=True)[1]).double()


def _estimates(call: _Call, x: Tensor, z: Tensor) -> tuple[Estimate, ...]:
    result = call(x, z)
    return result if isinstance(result, tuple) else (result,)


def _trials(
    call: _Call, known: Known, n: int, draws: int, count: int, seed: int
) -> tuple[Trial, ...]:
    """One trial for each of the `count` estimates of a call."""
    try:
        results = [_estimates(call, *known.sample(n, seed + draw)) for draw in range(draws)]
    except InputError:
        return (Trial(known.information, math.nan, math.nan, False),) * count
    return tuple(_trial(known.information, part) for part in zip(*results, strict=True))


def _trial(truth: float, estimates: Sequence[Estimate]) -> Trial:
    """The mean of several estimates beside the truth."""
    values = np.array([result.nats for result in estimates])
    errors = np.array([result.std_error for result in estimates])
    if not np.isfinite(errors).all():
        errors = np.full(1, values.std(ddof=1) if len(values) > 1 else 0.0)
    mean, error = float(values.mean()), math.sqrt((errors**2).mean() / len(values))
    tolerance = max(_SHARE * truth, _LEAST) + 2 * error
    return Trial(truth, mean, error, abs(mean - truth) <= tolerance)


def _reading(label: str, result: Estimate, trials: tuple[Trial, ...]) -> Reading:
    tolerance = max(_SHARE * result.nats, _LEAST)
    levels = [i for i, trial in enumerate(trials) if trial.truth + tolerance >= result.nats]
    believable = bool(levels) and all(trial.recovered for trial in trials[: levels[0] + 2])
    return Reading(label, result, result.bits, trials, believable)


def _cells(reading: Reading) -> list[str]:
    result = reading.estimate
    numbers = (result.nats, result.bits, result.std_error, result.ceiling)
    return [*map(_number, numbers), "yes" if reading.believable else "no"]


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = []
    for first, *others in (titles, *rows):
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return lines


def _stand_ins(x: Tensor, z: Tensor, kind: Kind) -> list[Known]:
    """Samples like these, of known information, by rising information."""
    n, columns = x.shape
    if kind == "vectors":
        levels = [share * math.log(n) for share in _OF_LOG_N]
        return [correlated_gaussians(nats, columns, z.shape[1]) for nats in levels]
    p_y = torch.bincount(z.unique(return_inverse=True)[1]).double() / n
    if kind == "values":
        values, counts = x.unique(dim=0, return_counts=True)
        p_x = counts.double() / n
        return [coupled_values(values, p_x, p_y, share) for share in _OF_ENTROPY]
    informations = [gaussian_classes(p_y, 1, apart).information for apart in _APART]
    wanted = [share * informations[-1] for share in _OF_ENTROPY]
    return [_of_classes(p_y, columns, apart) for apart in np.interp(wanted, informations, _APART)]


def _of_classes(p_y: Tensor, columns: int, apart: float) -> Known:
    known = gaussian_classes(p_y, columns, apart)
    return Known(known.information, lambda n, generator: known.draw(n, generator)[1:])
