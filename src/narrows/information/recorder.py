"""Records of the information plane: layers measured while a model is trained, cheap enough to stay.

    points = { (epoch, layer, I(X;T), I(T;Y)) }

A thousand inputs and pairwise bounds cost some hundredths of a second a layer; epochs spaced by
their logarithm (Shwartz-Ziv & Tishby 2017, arXiv 1703.00810, draw them so) are few.
"""

from __future__ import annotations

import json
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from narrows.checks import check_count, check_path
from narrows.errors import InputError, unknown_name
from narrows.information.plane import MEASURES, LayerPoint, as_batch, as_names, plane_layers
from narrows.models.evaluating import evaluating
from narrows.storage import write_atomically
from narrows.types import Batch

__all__ = ["PlaneRecorder", "load_plane", "log_spaced"]


def log_spaced(last: int, count: int = 40) -> list[int]:
    """Epochs to measure at: 0, then evenly spaced in their logarithm, to `last`.

    Example:
        >>> log_spaced(100, 6)
        [0, 1, 3, 10, 32, 100]
    """
    last = check_count(last, "last", 0, InputError)
    count = check_count(count, "count", 2, InputError)
    steps = torch.logspace(0, math.log10(max(last, 1)), count - 1, dtype=torch.float64)
    return sorted({0, last, *(int(step) for step in steps.round() if step <= last)})


class PlaneRecorder:
    """Measures layers of a model each time it is called, and keeps what it finds.

    Args:
        model: any classifier; it is left as it was found, and so are random numbers.
        layers: as `pairwise_plane` takes them; None for `plane_layers`.
        data: inputs and labels; evenly spaced ones of them are taken.
        measure: one of `MEASURES`.
        samples: how many inputs at most; time grows with their square. `"exact"` takes all.
        options: of the measure, such as `noise_std=0.1`.

    Raises:
        ConfigError: for a measure that there is none of.
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
            raise InputError("the model has no linear or convolutional layer; name what to measure")
        step = 1 if measure == "exact" else math.ceil(len(data.x) / samples)
        self.data = Batch(data.x[::step], data.y[::step])
        self.measure, self.options = measure, options
        self.points: list[tuple[int, LayerPoint]] = []

    def __call__(self, epoch: int) -> list[LayerPoint]:
        """Measure the model as it is now."""
        epoch = check_count(epoch, "epoch", 0, InputError)
        devices = [self.data.x.device] if self.data.x.is_cuda else []
        with torch.random.fork_rng(devices), evaluating(self.model), torch.no_grad():
            points = MEASURES[self.measure](self.model, self.layers, self.data, **self.options)
        self.points += [(epoch, point) for point in points]
        return points

    def record(self) -> dict[str, Any]:
        """Everything, as plain as JSON is; information in nats."""
        header = {"measure": self.measure, "units": "nats", "n": len(self.data.x)}
        return {
            **header,
            "options": {name: _plain(value) for name, value in self.options.items()},
            "points": [
                {
                    "epoch": epoch,
                    "layer": point.layer,
                    "rate": _finite(asdict(point.rate)),
                    "relevance": _finite(asdict(point.relevance)),
                }
                for epoch, point in self.points
            ],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON, whole or not at all.

        Raises:
            ConfigError: for what is no path.
            StoreError: if it cannot be written.
        """
        text = json.dumps(self.record(), indent=1, allow_nan=False) + "\n"
        write_atomically(check_path(path), text.encode())


def load_plane(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `PlaneRecorder.save` wrote.

    Raises:
        ConfigError: for what is no path.
        InputError: if it is missing or something else.
    """
    path = check_path(path)
    try:
        record = json.loads(path.read_text())
        if record["units"] == "nats" and all(map(_is_point, record["points"])):
            return record
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is no recorded information plane: {error}") from error
    raise InputError(f"{path} is no recorded information plane in nats")


def _is_point(point: Any) -> bool:
    """Whether a recorded point has what a plane is drawn from."""
    estimates = [point["rate"], point["relevance"]]
    numbers_ = [estimate[name] for estimate in estimates for name in ("nats", "ceiling")]
    return (
        isinstance(point["layer"], str)
        and isinstance(point["epoch"], int)
        and all(value is None or isinstance(value, int | float) for value in numbers_)
        and all(isinstance(estimate["diagnostics"], dict) for estimate in estimates)
    )


def _plain(value: Any) -> Any:
    """An option as JSON has it; an array by its form alone."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if value is None or isinstance(value, str):
        return value
    return f"{type(value).__name__} {list(getattr(value, 'shape', []))}"


def _finite(value: Any) -> Any:
    """For JSON, which has no infinity and no NaN: they become null."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
