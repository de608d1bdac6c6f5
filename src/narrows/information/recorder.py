"""Record the information plane while a model is trained, and read the records."""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import torch
from torch import nn

from narrows.checks import check_count, check_path
from narrows.errors import InputError, unknown_name
from narrows.information.plane import MEASURES, LayerPoint, as_batch, as_names, plane_layers
from narrows.models.evaluating import evaluating
from narrows.models.noise import forked_rng
from narrows.storage import check_regular, json_bytes, write_atomically
from narrows.types import Batch, Estimate

__all__ = ["PlanePoint", "PlaneRecord", "PlaneRecorder", "load_plane", "log_spaced"]

Option = int | float | str | None

_DIGEST = "sha256"


@dataclass(frozen=True)
class PlanePoint:
    """A layer's place in the plane after one epoch.

    Attributes:
        epoch: after which it was measured.
        layer: its name.
        rate: I(X;T).
        relevance: I(T;Y).
    """

    epoch: int
    layer: str
    rate: Estimate
    relevance: Estimate


@dataclass(frozen=True)
class PlaneRecord:
    """Everything that a `PlaneRecorder` has measured.

    Attributes:
        measure: one of `MEASURES`.
        n: number of inputs.
        options: of the measure; an array is described in words.
        points: one for each epoch and layer, in the order in which they were measured.
    """

    measure: str
    n: int
    options: Mapping[str, Option]
    points: tuple[PlanePoint, ...]


def log_spaced(last: int, count: int = 40) -> list[int]:
    """Epochs to measure at: 0, then evenly spaced in their logarithm, to `last`.

    Source: Shwartz-Ziv & Tishby (2017), arXiv 1703.00810, who draw planes at such epochs.

    Args:
        last: the last epoch.
        count: number of epochs, fewer where several round to the same one.

    Example:
        >>> log_spaced(100, 6)
        [0, 1, 3, 10, 32, 100]
    """
    last = check_count(last, "last", 0, InputError)
    count = check_count(count, "count", 2, InputError)
    steps = torch.logspace(0, math.log10(max(last, 1)), count - 1, dtype=torch.float64)
    return sorted({0, last, *(int(step) for step in steps.round() if step <= last)})


class PlaneRecorder:
    """Measures layers of a model each time it is called, and keeps the results.

    With a thousand inputs and pairwise bounds it takes some hundredths of a second per layer.

    Args:
        model: any classifier; it is left in the mode it was in, and no random numbers are drawn.
        layers: as `pairwise_plane` takes them; None for `plane_layers`.
        data: inputs and labels, of which evenly spaced ones are taken.
        measure: one of `MEASURES`.
        samples: how many inputs at most; time grows with their square. `"exact"` takes all.
        options: of the measure, such as `noise_std=0.1`.

    Raises:
        ConfigError: for an unknown measure.
        InputError: for fewer inputs than 2, or a model without layers that `plane_layers` knows.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> data = Batch(torch.rand(50, 2), torch.arange(50) % 2)
        >>> recorder = PlaneRecorder(net, ["1"], data)
        >>> [point.layer for point in recorder(epoch=0)]
        ['1']
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None,
        data: Batch,
        measure: str = "pairwise",
        samples: int = 1000,
        **options: Any,
    ) -> None:
        if str(measure) not in MEASURES:
            raise unknown_name("measure", str(measure), MEASURES)
        samples = check_count(samples, "samples", 2, InputError)
        data = as_batch(data, model)
        self.model, self.layers = model, as_names(layers or plane_layers(model))
        if not self.layers:
            raise InputError(
                "the model has no linear or convolutional layer; name the layers to measure"
            )
        step = 1 if measure == "exact" else math.ceil(len(data.x) / samples)
        self.data = Batch(data.x[::step], data.y[::step])
        self.measure, self.options = measure, options
        self.points: list[tuple[int, LayerPoint]] = []

    def __call__(self, epoch: int) -> list[LayerPoint]:
        """Measure the model as it is now."""
        epoch = check_count(epoch, "epoch", 0, InputError)
        with forked_rng(self.data.x.device), evaluating(self.model), torch.no_grad():
            points = MEASURES[self.measure](self.model, self.layers, self.data, **self.options)
        self.points += [(epoch, point) for point in points]
        return points

    def record(self) -> PlaneRecord:
        """Everything measured so far, in nats."""
        options = {name: _plain(value) for name, value in self.options.items()}
        points = tuple(PlanePoint(epoch, *point) for epoch, point in self.points)
        return PlaneRecord(self.measure, len(self.data.x), options, points)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON with a checksum, which `load_plane` reads, atomically.

        Raises:
            ConfigError: for anything that is not a path.
            StoreError: if it cannot be written.
        """
        # msgspec writes NaN and infinity, which JSON does not have, as null.
        record = self.record()
        content = {
            "measure": record.measure,
            "units": "nats",
            "n": record.n,
            "options": record.options,
            "points": record.points,
        }
        plain = msgspec.json.decode(msgspec.json.encode(content))
        text = json.dumps({**plain, _DIGEST: _digest(plain)}, indent=1)
        write_atomically(check_path(path), text.encode() + b"\n")


def load_plane(path: str | os.PathLike[str]) -> PlaneRecord:
    """Read what `PlaneRecorder.save` wrote.

    Raises:
        ConfigError: for anything that is not a path.
        InputError: if the file is missing, damaged or not a recorded plane.
    """
    path = check_path(path)
    try:
        check_regular(path)
        content = path.read_bytes()
        file = msgspec.json.decode(content, type=_File)
        plain = msgspec.json.decode(content)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"{path} is not a recorded information plane: {error}") from error
    if plain.pop(_DIGEST) != _digest(plain):
        raise InputError(
            f"{path} is damaged: its contents have changed since they were written; record it "
            "again, or restore a copy"
        )
    for point in file.points:
        if not isinstance(point.rate.diagnostics.get("measures"), str):
            raise InputError(
                f"{path} is not a recorded information plane: it does not say what the rate of "
                f"{point.layer} at epoch {point.epoch} measures"
            )
    points = tuple(
        PlanePoint(point.epoch, point.layer, _estimate(point.rate), _estimate(point.relevance))
        for point in file.points
    )
    return PlaneRecord(file.measure, file.n, file.options, points)


class _StoredEstimate(msgspec.Struct):
    """An estimate in a file."""

    nats: float | None
    std_error: float | None
    n: int
    ceiling: float | None
    diagnostics: dict[str, Any]


class _StoredPoint(msgspec.Struct):
    """A `PlanePoint` in a file."""

    epoch: int
    layer: str
    rate: _StoredEstimate
    relevance: _StoredEstimate


class _File(msgspec.Struct):
    """What a file holds."""

    measure: str
    units: Literal["nats"]
    n: int
    options: dict[str, Option]
    points: list[_StoredPoint]
    sha256: str


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json_bytes(plain)).hexdigest()


def _estimate(stored: _StoredEstimate) -> Estimate:
    """An estimate with NaN, and without a ceiling, where the file has null."""
    nats, std_error, ceiling = (
        instead if number is None else number
        for number, instead in (
            (stored.nats, math.nan),
            (stored.std_error, math.nan),
            (stored.ceiling, math.inf),
        )
    )
    return Estimate(nats, std_error, stored.n, ceiling, stored.diagnostics)


def _plain(value: object) -> Option:
    """An option as JSON has it; an array by its type and shape alone."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if value is None or isinstance(value, str):
        return value
    return f"{type(value).__name__} {list(getattr(value, 'shape', []))}"
