"""How much faster a stack is than its members one after another, with the same training loop.

    python benchmarks/stacking.py [--problem digits-vib] [--repeats 5] [--out stacking.json]

Both sides run `Trainer.run_epoch`, validation included, on the same data: once for a `Stacked`, and
once for each member as a `Solo`. On the multiply-adds alone a stack saves nothing; what it saves is
the overhead of many small operations. So the ratio is large for small networks and falls to 1 for
networks that keep the processor busy by themselves; `work` says how many multiply-adds a member's
step has.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import torch
from _timing import in_turn, ratio, save

from narrows.data import Dataset, load
from narrows.methods import METHODS, Sizes
from narrows.models import NetworkConfig, build_network
from narrows.training import Objective, Solo, Stacked, TrainConfig, Trainer


class Problem(NamedTuple):
    """A method, a network and the members of a sweep; `wanted` is the ratio to reach."""

    data: str
    method: str
    network: NetworkConfig
    betas: int
    seeds: int
    batch_size: int
    images: int
    wanted: float


PROBLEMS = {
    "digits-vib": Problem(
        "digits", "vib", NetworkConfig(encoder=[64, 64], bottleneck=4, decoder=[64]),
        8, 6, 64, 1024, 8,
    ),
    "twelve-bit-vib": Problem(
        "twelve-bit", "vib", NetworkConfig(encoder=[10, 10], bottleneck=2, decoder=[10]),
        8, 6, 64, 1024, 8,
    ),
    "twelve-bit-ce": Problem(
        "twelve-bit", "cross_entropy",
        NetworkConfig(encoder=[10, 10], bottleneck=2, decoder=[10]), 1, 48, 64, 1024, 8,
    ),
    "mnist-aib": Problem(
        "random-mnist", "aib", NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128]),
        6, 4, 256, 2560, 4,
    ),
}  # fmt: skip


def random_mnist(count: int) -> Dataset:
    """Images of MNIST's shape: their content does not change the time."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Dataset("random", x, torch.randint(10, (count,), generator=generator), 10)


def objectives(problem: Problem, data: Dataset) -> tuple[list[Objective], list[int]]:
    """Every beta with every seed."""
    kind = METHODS[problem.method]
    inputs = math.prod(data.shape)
    sizes = Sizes(inputs, problem.network.bottleneck, data.classes)
    built, seeds = [], []
    for beta in range(problem.betas):
        for seed in range(problem.seeds):
            torch.manual_seed(seed)
            model = build_network(problem.network, data.shape, data.classes, kind.latent)
            weight = 0.0 if problem.method == "cross_entropy" else 10.0**-beta
            built.append(Objective(model, kind.build(weight, sizes)))
            seeds.append(seed)
    return built, seeds


def measure(problem: Problem, repeats: int) -> dict[str, float]:
    """Seconds an epoch of both sides, and their ratio."""
    if problem.data == "random-mnist":
        data = random_mnist(problem.images)
    else:
        data = load(problem.data).train.take(slice(0, problem.images))
    few = data.take(slice(0, 256))
    config = TrainConfig(epochs=10**6, batch_size=problem.batch_size)
    members, seeds = objectives(problem, data)
    stack = Trainer(Stacked(members, seeds), data, few, config)
    solos = [
        Trainer(Solo(member, seed), data, few, config)
        for member, seed in zip(members, seeds, strict=True)
    ]
    seconds = in_turn(
        {
            "stacked": stack.run_epoch,
            "one_by_one": lambda: [solo.run_epoch() for solo in solos],
        },
        repeats,
    )
    return {
        "members": len(members),
        "steps": stack.steps_per_epoch,
        "stacked_seconds": min(seconds["stacked"]),
        "one_by_one_seconds": min(seconds["one_by_one"]),
        "ratio": ratio(seconds, "one_by_one", "stacked"),
        "wanted": problem.wanted,
    }


def main() -> None:
    """Measure the chosen problems and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, action="append")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = {}
    for name in given.problem or PROBLEMS:
        results[name] = found = measure(PROBLEMS[name], given.repeats)
        print(
            f"{name:15} {found['members']:3} members: stacked {found['stacked_seconds']:.3f} s, "
            f"one by one {found['one_by_one_seconds']:.3f} s, ratio {found['ratio']:.1f} "
            f"(wanted {found['wanted']:g})"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
