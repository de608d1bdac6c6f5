"""Where the time of a training step of the README's run goes, and what it cannot go below.

    python benchmarks/training_step.py [--steps 60] [--out training_step.json]

For each method of `narrows run`, its models are trained as the run trains them, in CPU time of one
thread: the batches, the forward pass with the loss, the backward pass, and the optimiser; of AIB's
critic, all together. *Products* is the time of the matrix products alone, each measured by itself
and counted as often as a step has it: the floor for these models. *Overhead* is the time of a step
with two inputs per batch, in which there is little to compute: the calls from Python and of
kernels, and the optimiser, which do not depend on the batch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _timing import save
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from narrows.runs import ResolvedConfig, load_config
from narrows.runs.building import build_members
from narrows.runs.data import load_splits
from narrows.training import TrainConfig, Trainer

PRODUCTS = {"mm": (0, 1), "addmm": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2)}


class Products(TorchDispatchMode):
    """Notes the shapes of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[torch.Size, torch.Size]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a product, and compute it."""
        if places := PRODUCTS.get(func.overloadpacket.__name__):
            left, right = (args[place] for place in places)
            self.shapes.append((left.shape, right.shape))
        return func(*args, **(kwargs or {}))


def trainer_of(config: ResolvedConfig, method: str, batch: int | None = None) -> Trainer:
    """The trainer of all models of a method, on `batch` inputs at a time."""
    splits = load_splits(config)[0]
    members = build_members(config, method, splits.train.shape, splits.train.classes)
    train: TrainConfig = config.train if batch is None else replace(config.train, batch_size=batch)
    return Trainer(members, splits.train, splits.validation, train)


def steps(trainer: Trainer, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of so many steps."""
    from narrows.training.batches import seeded_batches

    left = count
    while left:
        for batch in seeded_batches(trainer.train, trainer.members, trainer.config):
            yield batch
            left -= 1
            if not left:
                return


@contextmanager
def stages(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the CPU time of backward passes and of optimisers in the block."""
    backward, step = torch.Tensor.backward, torch.optim.Adam.step

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            result = call(*args, **options)
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
            return result

        return timed_call

    torch.Tensor.backward = timed("backward", backward)
    torch.optim.Adam.step = timed("optimiser", step)
    try:
        yield
    finally:
        torch.Tensor.backward, torch.optim.Adam.step = backward, step


def measured(trainer: Trainer, count: int) -> dict[str, float]:
    """Seconds of CPU time per step, by stage."""
    (descent,) = trainer._descents
    descent.before_epoch(0)
    for number, (x, y) in enumerate(steps(trainer, 5)):
        descent.step(x, y, number)
    seconds: dict[str, float] = {}
    with stages(seconds):
        started, inside = time.process_time(), 0.0
        for number, (x, y) in enumerate(steps(trainer, count), start=5):
            begun = time.process_time()
            descent.step(x, y, number)
            inside += time.process_time() - begun
        total = time.process_time() - started
    seconds["batches"] = total - inside
    seconds["forward and loss"] = inside - seconds["backward"] - seconds["optimiser"]
    return {name: value / count for name, value in {**seconds, "step": total}.items()}


def floor(trainer: Trainer) -> tuple[float, float]:
    """Multiply-adds of a step, and the seconds of its matrix products by themselves."""
    (descent,) = trainer._descents
    (x, y), noted = next(steps(trainer, 1)), Products()
    with noted:
        descent.step(x, y, 0)
    work = seconds = 0.0
    for shape in set(noted.shapes):
        times = noted.shapes.count(shape)
        left, right = (torch.randn(size) for size in shape)
        work += times * left.numel() * right.shape[-1]
        multiply = torch.bmm if left.dim() == 3 else torch.mm
        multiply(left, right)
        started, repeats = time.process_time(), 20
        for _ in range(repeats):
            multiply(left, right)
        seconds += times * (time.process_time() - started) / repeats
    return work, seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config, results = load_config(), {}
    parts = ("batches", "forward and loss", "backward", "optimiser")
    print(f"| method | models | ms per step | {' | '.join(parts)} | products | overhead |")
    print("|---" * 9 + "|")
    for method in config.methods:
        trainer = trainer_of(config, method)
        spent = measured(trainer, given.steps)
        work, products = floor(trainer)
        small = measured(trainer_of(config, method, batch=2), given.steps)["step"]
        results[method] = {**spent, "multiply_adds": work, "products": products, "overhead": small}
        shares = [spent[part] / spent["step"] for part in parts]
        shares += [products / spent["step"], small / spent["step"]]
        cells = " | ".join(f"{share:.0%}" for share in shares)
        print(f"| {method} | {len(trainer.members)} | {1e3 * spent['step']:.1f} | {cells} |")
        weights = sum(p.numel() for p in trainer.members.parameters(critic=False))
        print(
            f"  {work / 1e6:.0f} million multiply-adds, {28 * weights / 2**20:.1f} MiB read and "
            f"written by Adam, {work / products / 1e9:.1f} billion multiply-adds per second"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
