"""What a method's training step costs, as a multiple of plain cross-entropy's.

    python benchmarks/step_cost.py [--only hbar] [--repeats 9] [--out step_cost.json]

Same encoder, decoder, batch and optimiser (VIB's encoder returns scales beside means); one model
at a time, on random images. A PGD-trained step is measured against its floor: one forward and
backward pass of cross-entropy for each step of the attack, and one for the weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _timing import in_turn, ratio, save

from narrows.data import Dataset
from narrows.methods import METHODS, CrossEntropy, Method, Sizes
from narrows.methods.adversarial import PGDTraining
from narrows.models import NetworkConfig, build_network
from narrows.training import Objective, Solo, TrainConfig, Trainer

STEPS = 10  # of the inner attack


class Case(NamedTuple):
    """What is timed: a method on a network, and the ratio that was asked for."""

    method: str
    network: NetworkConfig
    batch_size: int
    wanted: float


def wide(bottleneck: int) -> NetworkConfig:
    return NetworkConfig(encoder=[1024, 1024], bottleneck=bottleneck, decoder=[])


# Its five hidden layers: two convolutions, the code and two dense ones.
CNN = NetworkConfig("cnn", encoder=[32, 64], bottleneck=10, decoder=[128, 128])

# Each on the network of its own paper; AIB's critic has the width of AIB's network. With K = 256
# the scales alone make VIB's network 1.13 times as large as its twin, so K = 10 is timed as well.
CASES = {
    "vib, K=256": Case("vib", wide(256), 100, 1.1),
    "vib, K=10": Case("vib", wide(10), 100, 1.1),
    "ceb, K=256": Case("ceb", wide(256), 100, 1.1),
    "nib, K=10": Case("nib", wide(10), 128, 1.25),
    "nib, cnn": Case("nib", CNN, 128, 1.25),
    "aib": Case("aib", NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128]), 256, 3.5),
    "hbar, cnn, five layers": Case("hbar", CNN, 128, 1.5),
    "ib_rar, cnn, five layers": Case("ib_rar", CNN, 128, 1.5),
    "pgd_training, cnn": Case("pgd_training", CNN, 128, 1.15),
}


def build(name: str, sizes: Sizes) -> Method:
    if name in METHODS:
        return METHODS[name].build(0.0 if name == "cross_entropy" else 1e-3, sizes)
    return PGDTraining(CrossEntropy(), eps=0.3, steps=STEPS)


def trainer(case: Case, method: str, data: Dataset) -> Trainer:
    """A single model ready to train."""
    torch.manual_seed(0)
    latent = METHODS[method].latent if method in METHODS else "deterministic"
    model = build_network(case.network, data.shape, 10, latent)
    objective = Objective(model, build(method, Sizes(784, case.network.bottleneck, 10)))
    config = TrainConfig(epochs=10**6, batch_size=case.batch_size)
    return Trainer(Solo(objective, 0), data, data.take(slice(0, 10)), config)


def passes(case: Case, data: Dataset) -> None:
    """The floor of a PGD-trained epoch: forward and backward passes and nothing else."""
    model = build_network(case.network, data.shape, 10, "deterministic")
    loss = CrossEntropy()
    for start in range(0, len(data), case.batch_size):
        x, y = data.batch(slice(start, start + case.batch_size))
        for _ in range(STEPS + 1):
            loss(model, x, y).backward()


def measure(case: Case, steps: int, repeats: int) -> dict[str, Any]:
    """Median ratio over the rounds, and the shortest step of either in ms."""
    pgd = case.method not in METHODS
    steps = 1 if pgd else steps  # one of its steps is as long as many
    count = steps * case.batch_size
    data = Dataset("random", torch.rand(count, 1, 28, 28), torch.randint(10, (count,)), 10)
    plain: Callable[[], Any] = partial(passes, case, data)
    if not pgd:
        plain = trainer(case, "cross_entropy", data).run_epoch
    own = trainer(case, case.method, data).run_epoch
    seconds = in_turn({"plain": plain, "own": own}, repeats)
    shortest = {name: min(times) / steps * 1e3 for name, times in seconds.items()}
    return {
        "ratio": ratio(seconds, "own", "plain"),
        "wanted": case.wanted,
        "ms": shortest["own"],
        "floor_ms" if pgd else "cross_entropy_ms": shortest["plain"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = {}
    for name, case in CASES.items():
        if given.only not in name:
            continue
        found = results[name] = measure(case, given.steps, given.repeats)
        below = found.get("floor_ms", found.get("cross_entropy_ms"))
        print(
            f"{name}: {found['ms']:.2f} ms a step, against {below:.2f} ms, "
            f"ratio {found['ratio']:.2f} (wanted {found['wanted']})"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
