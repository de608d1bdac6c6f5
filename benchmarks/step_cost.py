"""What a method's training step costs, as a multiple of plain cross-entropy's.

    python benchmarks/step_cost.py [--repeats 9] [--out step_cost.json]

Same encoder, decoder, batch and optimiser (VIB's encoder returns scales beside means); one model
at a time, on random images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _timing import in_turn, ratio, save

from narrows.data import Dataset
from narrows.methods import METHODS, Sizes
from narrows.models import NetworkConfig, build_network
from narrows.training import Objective, Solo, TrainConfig, Trainer

# Each on the network of its own paper; AIB's critic has the width of AIB's network. With K = 256
# the scales alone make VIB's network 1.13 times as large as its twin, so K = 10 is timed as well.
CASES = {
    "vib, K=256": (
        "vib",
        NetworkConfig(encoder=[1024, 1024], bottleneck=256, decoder=[]),
        100,
        1.1,
    ),
    "vib, K=10": ("vib", NetworkConfig(encoder=[1024, 1024], bottleneck=10, decoder=[]), 100, 1.1),
    "aib": ("aib", NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128]), 256, 3.5),
}


def trainer(method: str, network: NetworkConfig, data: Dataset, batch_size: int) -> Trainer:
    """A single model ready to train."""
    torch.manual_seed(0)
    kind = METHODS[method]
    model = build_network(network, data.shape, 10, kind.latent)
    beta = 0.0 if method == "cross_entropy" else 1e-3
    objective = Objective(model, kind.build(beta, Sizes(784, network.bottleneck, 10)))
    config = TrainConfig(epochs=10**6, batch_size=batch_size)
    return Trainer(Solo(objective, 0), data, data.take(slice(0, 10)), config)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = {}
    for case, (method, network, batch_size, wanted) in CASES.items():
        count = given.steps * batch_size
        x = torch.rand(count, 1, 28, 28)
        data = Dataset("random", x, torch.randint(10, (count,)), 10)
        seconds = in_turn(
            {
                name: trainer(name, network, data, batch_size).run_epoch
                for name in ("cross_entropy", method)
            },
            given.repeats,
        )
        found = ratio(seconds, method, "cross_entropy")
        plain = min(seconds["cross_entropy"]) / given.steps * 1e3
        own = min(seconds[method]) / given.steps * 1e3
        results[case] = {"ratio": found, "wanted": wanted, "ms": own, "cross_entropy_ms": plain}
        print(
            f"{case}: {own:.2f} ms a step, cross-entropy {plain:.2f} ms, "
            f"ratio {found:.2f} (wanted {wanted})"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
