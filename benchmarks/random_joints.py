"""Measure the exact bottleneck on random joints with and without zeros: gap, time, clusters.

    python benchmarks/random_joints.py [--joints 500] [--threads 1] [--out random_joints.json]

Small ones have 2 to 6 classes and 2 to 60 rows, dense or with up to 60 % of zeros, at six betas.
Each is compared with Blahut-Arimoto from random starts, written here in NumPy and nothing else. The
large ones have 200 x 10 and 500 x 20 entries and are solved one beta at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _timing import save

from narrows.information import information_bottleneck

BETAS = (0.003, 0.03, 0.1, 0.3, 0.6, 0.9)
ZEROS = (0.0, 0.3, 0.6)
POWERS = (1, 3, 8)
LARGE = ((200, 10), (500, 20))
LARGE_BETAS = (0.02, 0.05, 0.1, 0.2, 0.3)


def random_joint(rows: int, classes: int, zeros: float, power: int, seed: int) -> np.ndarray:
    """Uniform numbers to a power, a share of them 0, and some probability in every row."""
    draw = np.random.default_rng(seed)
    joint = draw.random((rows, classes)) ** power
    keep = draw.random((rows, classes)) >= zeros
    keep[np.arange(rows), draw.integers(classes, size=rows)] = True
    joint *= keep
    return joint / joint.sum()


def small_joints(count: int) -> Iterator[np.ndarray]:
    """Of all kinds in turn, with fixed seeds."""
    for seed in range(count):
        draw = np.random.default_rng(10_000 + seed)
        rows, classes = int(draw.integers(2, 61)), int(draw.integers(2, 7))
        zeros, power = ZEROS[seed % 3], POWERS[seed // 3 % 3]
        yield random_joint(rows, classes, zeros, power, seed)


def slow_objective(joint: np.ndarray, beta: float, starts: int, updates: int, seed: int) -> float:
    """The least beta I(X;Z) - I(Z;Y) that Blahut-Arimoto finds from random encoders."""
    draw = np.random.default_rng(seed)
    p_x = joint.sum(1)
    p_y = joint / p_x[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(p_y > 0, p_y * np.log(p_y), 0).sum(1)
    least = np.inf
    for _ in range(starts):
        encoder = draw.dirichlet(np.full(len(joint), 0.1), len(joint))
        for _ in range(updates):
            p_z = p_x @ encoder
            q = (encoder.T * p_x) @ p_y / np.maximum(p_z, 1e-300)[:, None]
            distance = entropy[:, None] - p_y @ np.log(np.maximum(q, 1e-300)).T
            score = np.log(np.maximum(p_z, 1e-300)) - distance / beta
            encoder = np.exp(score - score.max(1, keepdims=True))
            encoder /= encoder.sum(1, keepdims=True)
        rate = information(p_x[:, None] * encoder)
        least = min(least, beta * rate - information(encoder.T @ joint))
    return least


def information(joint: np.ndarray) -> float:
    """I(A;B) in nats."""
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / apart[some])).sum())


def measure_small(count: int, starts: int, updates: int) -> dict[str, Any]:
    """The worst gap, the most that a slow search is below us, and the time."""
    gap, below, seconds, certain = [], [], [], 0
    for seed, joint in enumerate(small_joints(count)):
        started = time.perf_counter()
        solution = information_bottleneck(joint, BETAS)
        seconds.append(time.perf_counter() - started)
        gap.append(solution.gap.max().item())
        certain += solution.converged.sum().item()
        ours = (solution.betas * solution.rate - solution.relevance).tolist()
        beta = seed % len(BETAS)
        below.append(ours[beta] - slow_objective(joint, BETAS[beta], starts, updates, seed))
    return {
        "joints": count,
        "betas": list(BETAS),
        "worst_gap": max(gap),
        "above_1e-9": sum(value > 1e-9 for value in gap),
        "converged_share": certain / (count * len(BETAS)),
        "most_above_a_slow_search": max(below),
        "seconds_median": float(np.median(seconds)),
        "seconds_longest": max(seconds),
    }


def measure_large(rows: int, classes: int) -> Iterator[dict[str, Any]]:
    """Gap, clusters and time, dense and sparse, at each beta."""
    for zeros, power in ((0.0, 1), (0.0, 4), (0.6, 1), (0.6, 4)):
        joint = random_joint(rows, classes, zeros, power, 1)
        for beta in LARGE_BETAS:
            started = time.perf_counter()
            solution = information_bottleneck(joint, [beta])
            yield {
                "rows": rows,
                "classes": classes,
                "zeros": zeros,
                "power": power,
                "beta": beta,
                "gap": solution.gap.item(),
                "clusters": solution.support.item(),
                "seconds": time.perf_counter() - started,
            }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--joints", type=int, default=500, help="small ones")
    parser.add_argument("--starts", type=int, default=3, help="of the slow search")
    parser.add_argument("--updates", type=int, default=300, help="of the slow search")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--quick", action="store_true", help="leave out the large ones")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    small = measure_small(given.joints, given.starts, given.updates)
    print(f"{small['joints']} joints of up to 60 x 6 at {len(BETAS)} betas:")
    print(f"  worst gap {small['worst_gap']:.1e} nats, {small['above_1e-9']} above 1e-9")
    print(f"  converged: {100 * small['converged_share']:.1f} %")
    print(f"  most above a slow search: {small['most_above_a_slow_search']:.1e} nats")
    print(f"  {small['seconds_median']:.2f} s each, {small['seconds_longest']:.1f} s at most")
    large = []
    print("rows classes zeros power beta     gap clusters seconds")
    for rows, classes in () if given.quick else LARGE:
        for row in measure_large(rows, classes):
            large.append(row)
            print(
                f"{rows:4d} {classes:7d} {row['zeros']:5.1f} {row['power']:5d} {row['beta']:4.2f} "
                f"{row['gap']:7.0e} {row['clusters']:8d} {row['seconds']:7.1f}",
                flush=True,
            )
    save(given.out, {"small": small, "large": large})


if __name__ == "__main__":
    main()
