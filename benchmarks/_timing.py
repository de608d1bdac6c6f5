"""Time alternatives against each other in one run: in turn, so that a noisy machine hits all."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

__all__ = ["in_turn", "machine", "save"]


def in_turn(
    alternatives: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each alternative, `repeats` times, A B A B ..., after `warmup` rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for round_ in range(warmup + repeats):
        for name, work in alternatives.items():
            started = time.perf_counter()
            work()
            if round_ >= warmup:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    """Median over the rounds of one alternative's time over another's."""
    return median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "platform": platform.platform(),
    }


def save(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write results and machine as JSON, where a path was given."""
    if path is not None:
        path.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
