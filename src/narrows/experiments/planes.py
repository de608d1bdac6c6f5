"""Information planes: of the layers of trained models, and recorded ones of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from narrows.errors import InputError
from narrows.information import PlanePoint, PlaneRecorder, load_plane
from narrows.runs import Progress, Run

__all__ = ["PlaneRow", "measure_layers", "read_planes"]


@dataclass(frozen=True)
class PlaneRow:
    """One layer of one model, in bits.

    Attributes:
        model: name of the training method, or `"recorded"`.
        beta: of the model; `None` for a recorded plane.
        seed: of the model, or the number of the recorded file.
        epoch: after which it was measured; `None` for a trained model.
        layer: its name.
        rate: I(X;T).
        relevance: I(T;Y).
        entropy: H(Y), which no relevance exceeds.
        ceiling: log n, which no rate exceeds.
        saturated: whether the rate is within 5 % of that ceiling.
        measures: how it was measured, in words.
    """

    model: str
    beta: float | None
    seed: int
    epoch: int | None
    layer: str
    rate: float
    relevance: float
    entropy: float
    ceiling: float
    saturated: bool
    measures: str


def measure_layers(
    run: Run,
    methods: Sequence[str] | None,
    betas: Sequence[float] | None,
    layers: Sequence[str] | None,
    measure: str,
    samples: int,
    options: Mapping[str, float],
    progress: Progress | None = None,
) -> list[PlaneRow]:
    """One row for each trained model and layer of a run, on its training data.

    Args:
        run: whose models are measured.
        methods: which of its methods; `None` for all.
        betas: which of their betas; `None` for all.
        layers: names of layers; `None` for all that a model has.
        measure: one of `narrows.information.MEASURES`.
        samples: number of inputs, at most.
        options: of the measure.
        progress: where progress is shown.

    Raises:
        NarrowsError: for methods or betas that the run does not have, or what `PlaneRecorder`
            refuses.
    """
    data = run.splits.train.all()
    members = run.require_members(methods, betas)
    rows = []
    with (progress or Progress()).bar("information plane", len(members)) as bar:
        for member in members:
            recorder = PlaneRecorder(run.model(member), layers, data, measure, samples, **options)
            recorder(epoch=0)
            rows += [
                _row(member.method, member.beta, member.seed, None, point)
                for point in recorder.record().points
            ]
            bar.advance()
    return rows


def read_planes(files: Sequence[Path]) -> list[PlaneRow]:
    """One row for each recorded layer, epoch and file; each file is a seed.

    Raises:
        InputError: for a file that holds no plane, or planes of different measures.
    """
    records = [load_plane(file) for file in files]
    measures = [(record.measure, record.options, record.n) for record in records]
    if any(measure != measures[0] for measure in measures):
        raise InputError(
            "the files were not measured alike and cannot be compared: "
            + "; ".join(f"{measure} {options} of {n}" for measure, options, n in measures)
        )
    return [
        _row("recorded", None, seed, point.epoch, point)
        for seed, record in enumerate(records)
        for point in record.points
    ]


def _row(
    model: str, beta: float | None, seed: int, epoch: int | None, point: PlanePoint
) -> PlaneRow:
    rate, relevance = point.rate, point.relevance
    return PlaneRow(
        model=model,
        beta=beta,
        seed=seed,
        epoch=epoch,
        layer=point.layer,
        rate=rate.bits,
        relevance=relevance.bits,
        entropy=relevance.ceiling / math.log(2),
        ceiling=rate.ceiling / math.log(2),
        saturated=bool(rate.diagnostics.get("saturated")),
        measures=str(rate.diagnostics["measures"]),
    )
