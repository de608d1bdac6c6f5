"""Records of the information plane: layers measured while a model is trained, cheap enough to stay.

    points = { (epoch, layer, I(X;T), I(T;Y)) }

A thousand inputs and pairwise bounds cost some hundredths of a second a layer; epochs spaced by
their logarithm (Shwartz-Ziv & Tishby 2017, arXiv 1703.00810, draw them so) are few.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import InputError, unknown_name
from narrows.information.plane import MEASURES, LayerPoint, plane_layers
from narrows.models.evaluating import evaluating
from narrows.types import Batch

__all__ = ["PlaneRecorder", "load_plane", "log_spaced"]


def log_spaced(last: int, count: int = 40) -> list[int]:
    """Epochs to measure at: 0, then evenly spaced in their logarithm, to `last`.

    Example:
        >>> log_spaced(100, 6)
        [0, 1, 3, 10, 32, 100]
    """
    if last < 0 or count < 2:
        raise InputError(f"expected last >= 0 and count >= 2, got {last} and {count}")
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
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        if min(samples, len(data.x)) < 2:
            raise InputError(
                f"a plane needs at least 2 inputs, got {len(data.x)} and samples = {samples}"
            )
        self.model, self.layers = model, list(layers or plane_layers(model))
        if not self.layers:
            raise InputError("the model has no linear or convolutional layer; name what to measure")
        step = 1 if measure == "exact" else math.ceil(len(data.x) / samples)
        self.data = Batch(data.x[::step], data.y[::step])
        self.measure, self.options = measure, options
        self.points: list[tuple[int, LayerPoint]] = []

    def __call__(self, epoch: int) -> list[LayerPoint]:
        """Measure the model as it is now."""
        devices = [self.data.x.device] if self.data.x.is_cuda else []
        with torch.random.fork_rng(devices), evaluating(self.model), torch.no_grad():
            found = MEASURES[self.measure](self.model, self.layers, self.data, **self.options)
        self.points += [(epoch, point) for point in found]
        return found

    def record(self) -> dict[str, Any]:
        """Everything, as plain as JSON is; information in nats."""
        about = {"measure": self.measure, "units": "nats", "n": len(self.data.x)}
        plain = {name: one for name, one in self.options.items() if not isinstance(one, Tensor)}
        return {
            **about,
            "options": plain,
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

    def save(self, path: str | Path) -> None:
        """Write the record as JSON, whole or not at all."""
        path = Path(path)
        passing = path.with_name(path.name + ".part")
        passing.write_text(json.dumps(self.record(), indent=1, allow_nan=False) + "\n")
        passing.replace(path)


def load_plane(path: str | Path) -> dict[str, Any]:
    """Read what `PlaneRecorder.save` wrote.

    Raises:
        InputError: if it is missing or something else.
    """
    try:
        record = json.loads(Path(path).read_text())
        if record["units"] == "nats" and all({"epoch", "rate"} <= {*p} for p in record["points"]):
            return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no recorded information plane: {error}") from error
    raise InputError(f"{path} is no recorded information plane in nats")


def _finite(value: Any) -> Any:
    """For JSON, which has no infinity and no NaN: they become null."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
