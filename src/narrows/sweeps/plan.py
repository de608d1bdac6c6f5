"""What a sweep will take, from a few measured steps of the models that it trains."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from narrows.data import Splits
from narrows.errors import NarrowsError
from narrows.experiments.member_attacks import plan_attacks
from narrows.models.bottleneck import as_classifier, resting_mode
from narrows.models.noise import forked_rng
from narrows.runs import ResolvedConfig
from narrows.runs.building import build_members
from narrows.runs.data import load_splits
from narrows.runs.evaluate import evaluate_model
from narrows.sweeps.grid import Sweep, Unit
from narrows.training import Trainer

__all__ = ["PlanRow", "SweepPlan", "plan_sweep"]

_MEASURED = 12  # kinds of runs that are measured; others are counted only
_STEPS = 3
_COPIES = 4  # of each weight: itself, its gradient, and the two moments of Adam
_IMAGES = 32
_DEEPFOOL_PASSES = 40  # measured on the digits: about 20 forward and 20 backward


@dataclass(frozen=True)
class PlanRow:
    """The runs of one setting and method.

    Attributes:
        label: setting and method.
        runs: number of runs.
        members: number of models.
        stacked: whether they train in one vectorised step; `None` where it was not measured.
        weights: numbers in the weights of one model.
        training_seconds: of all these runs together, one after another.
        measuring_seconds: likewise, of accuracy and information.
        attack_seconds: likewise, at most: an image that is fooled early takes less.
        memory_mib: of one run's weights, gradients and optimiser.
        error: why a run cannot begin; `None` if it can.
    """

    label: str
    runs: int
    members: int
    stacked: bool | None = None
    weights: int = 0
    training_seconds: float = 0.0
    measuring_seconds: float = 0.0
    attack_seconds: float = 0.0
    memory_mib: float = 0.0
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Of everything."""
        return self.training_seconds + self.measuring_seconds + self.attack_seconds


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will take.

    Attributes:
        members: number of models.
        runs: number of runs.
        rows: the kinds of runs that were measured.
        kinds: number of all kinds.
    """

    members: int
    runs: int
    rows: list[PlanRow]
    kinds: int

    @property
    def seconds(self) -> float:
        """Of the whole sweep on one process; kinds that were not measured count as the mean."""
        measured = [row for row in self.rows if row.error is None]
        members = sum(row.members for row in measured)
        return sum(row.seconds for row in measured) * self.members / members if members else 0.0


def plan_sweep(sweep: Sweep) -> SweepPlan:
    """Count the models of a sweep, and measure a few steps of its first kinds of runs.

    Args:
        sweep: the grid; nothing of it is carried out or stored.
    """
    rows = [_row(sweep, unit) for unit in itertools.islice(_kinds(sweep), _MEASURED)]
    return SweepPlan(sweep.members, sweep.runs, rows, sweep.kinds)


def _kinds(sweep: Sweep) -> Iterator[Unit]:
    """The first run of each setting and method."""
    seen = None
    for unit in sweep.units():
        if (unit.setting, unit.method) != seen:
            seen = (unit.setting, unit.method)
            yield unit


def _row(sweep: Sweep, unit: Unit) -> PlanRow:
    runs = -(-sweep.seeds // unit.seeds)
    members = unit.members * sweep.seeds // unit.seeds
    label = ", ".join(unit.label.split(", ")[:-1])
    try:
        return replace(_measured(unit, members), label=label, runs=runs, members=members)
    except NarrowsError as error:
        return PlanRow(label, runs, members, error=" ".join(str(error).split()))


def _measured(unit: Unit, count: int) -> PlanRow:
    config = unit.config()
    splits = Splits(*(part.to(config.device) for part in load_splits(config)[0]))
    members = build_members(config, unit.method, splits.train.shape, splits.train.classes)
    weights = sum(parameter.numel() for parameter in members.member(0).parameters())
    batch = config.train.batch_size
    sample = splits.train.take(slice(0, _STEPS * batch))
    with forked_rng(members.device, unit.first_seed):
        brief = replace(config.train, epochs=2)
        trainer = Trainer(members, sample, splits.validation.take(slice(0, 2)), brief)
        trainer.run_epoch()  # the first steps allocate
        step = trainer.run_epoch().seconds / brief.steps_per_epoch(len(sample))
    steps = config.train.epochs * config.train.steps_per_epoch(len(splits.train))
    model = members.member(0).model.eval()
    started = time.perf_counter()
    evaluate_model(model, splits, replace(config.evaluate, attack=False))
    measuring = time.perf_counter() - started
    return PlanRow(
        label="",
        runs=0,
        members=0,
        stacked=members.stacked,
        weights=weights,
        training_seconds=step * steps * count / unit.members,
        measuring_seconds=measuring * count,
        attack_seconds=_attack_seconds(unit, config, model, splits) * count,
        memory_mib=unit.members * _COPIES * weights * 4 / 2**20,
    )


def _attack_seconds(unit: Unit, config: ResolvedConfig, model: nn.Module, splits: Splits) -> float:
    """Time of the attacks on one model, at most, from that of one gradient for a few images."""
    attacks: list[tuple[int, Any]] = [
        (plan.images, attack) for plan, attack in plan_attacks(unit.attacks)
    ]
    test, evaluate = splits.test, config.evaluate
    if not test.image or not (attacks or evaluate.attack):
        return 0.0
    passes = [(images, _passes(attack)) for images, attack in attacks]
    if evaluate.attack:
        images = evaluate.attack_images or len(test)
        each = evaluate.pgd_steps * evaluate.pgd_restarts + 2
        passes.append((images, len(evaluate.eps) * each + _DEEPFOOL_PASSES))
    mode, samples = resting_mode(model, evaluate.samples)
    classifier = as_classifier(model, samples, mode)
    x = test.batch(slice(0, _IMAGES)).x
    started = 0.0
    for _ in range(2):  # the first pass allocates
        started = time.perf_counter()
        seen = x.clone().requires_grad_()
        torch.autograd.grad(classifier(seen).logsumexp(1).sum(), seen)
    each = (time.perf_counter() - started) / len(x)
    return each * sum(min(images, len(test)) * count for images, count in passes)


def _passes(attack: Any) -> int:
    """Gradients for an image that no attempt fools."""
    return getattr(attack, "steps", 1) * getattr(attack, "restarts", 1)
