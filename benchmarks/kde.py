"""Time both pairwise bounds in one pass against the usual two passes in float64.

    python benchmarks/kde.py [--n 4000] [--repeats 5] [--out kde.json]

The two-pass form takes a matrix of distances and a logsumexp for each bound. Ours shares
distances and exponentials, goes in blocks, and gives standard errors besides.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from _timing import in_turn, ratio, save
from torch import Tensor

from narrows.information import kde_bounds


def two_passes(mean: Tensor, noise: float) -> tuple[float, float]:
    """Lower and upper bound, each as its formula reads."""
    bounds = []
    for factor in (8, 2):
        squares = mean.square().sum(1)
        distance = (squares[:, None] + squares - 2 * mean @ mean.T).clamp_min(0)
        terms = torch.logsumexp(-distance / (factor * noise**2), 1)
        bounds.append((math.log(len(mean)) - terms.mean()).item())
    return bounds[0], bounds[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = {}
    for d in (2, 10, 256):
        draw = torch.Generator().manual_seed(0)
        mean = torch.randn(given.n, d, dtype=torch.float64, generator=draw)
        noise = 0.3 * math.sqrt(d)
        ours, theirs = kde_bounds(mean, noise), two_passes(mean, noise)
        seconds = in_turn(
            {
                "ours": lambda mean=mean, noise=noise: kde_bounds(mean, noise),
                "two passes": lambda mean=mean, noise=noise: two_passes(mean, noise),
            },
            given.repeats,
        )
        found = {
            "difference_nats": max(abs(a.nats - b) for a, b in zip(ours, theirs, strict=True)),
            "seconds": min(seconds["ours"]),
            "two_pass_seconds": min(seconds["two passes"]),
            "times_faster": ratio(seconds, "two passes", "ours"),
        }
        results[f"d = {d}, n = {given.n}"] = found
        print(
            f"d = {d}, n = {given.n}: ours {found['seconds']:.3f} s, two passes "
            f"{found['two_pass_seconds']:.3f} s, {found['times_faster']:.1f} times faster, apart "
            f"{found['difference_nats']:.1e}"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
