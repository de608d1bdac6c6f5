"""Measure the solver of the discrete bottleneck beside plain Blahut-Arimoto: gap and time.

    python benchmarks/information_bottleneck.py [--repeats 3] [--out bottleneck.json]

Both on the same 50 betas. The rival anneals from small beta to large, all x merged as ours are,
and stops when no p(z|x) changes by more than 1e-6; its gap is measured against our optimum.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _timing import in_turn, ratio, save
from torch import Tensor

from narrows.data import twelve_bit
from narrows.information import information_bottleneck
from narrows.information._joint import check_joint, merge_rows, mutual_information

BETAS = torch.logspace(-2, -0.01, 50, dtype=torch.float64)


def distinct(rows: int) -> Tensor:
    """A joint whose rows all differ."""
    p = torch.linspace(0.01, 0.99, rows, dtype=torch.float64)
    return torch.stack([p, 1 - p], 1) / rows


def annealed(joint: Tensor, clusters: int = 10, tolerance: float = 1e-6) -> Tensor:
    """Objective beta I(X;Z) - I(Z;Y) at each beta, by the three equations and nothing else."""
    source, _ = merge_rows(check_joint(joint))
    entropy = torch.special.xlogy(source.p_y, source.p_y).sum(1, keepdim=True)
    draw = torch.Generator().manual_seed(0)
    encoder = torch.rand(len(source.p_x), clusters, dtype=torch.float64, generator=draw) ** 8
    encoder /= encoder.sum(1, keepdim=True)
    values = []
    for beta in BETAS:
        for _ in range(5000):
            p_z = source.p_x @ encoder
            q = (source.p_x[:, None] * encoder).T @ source.p_y / p_z[:, None].clamp_min(1e-300)
            d = entropy - source.p_y @ q.clamp_min(1e-300).log().T
            new = (p_z.log() - d / beta).softmax(1)
            change = (new - encoder).abs().max()
            encoder = new
            if change < tolerance:
                break
        rate = mutual_information(source.p_x, encoder)
        p_z = source.p_x @ encoder
        joint_zy = (source.p_x[:, None] * encoder).T @ source.p_y
        q = joint_zy / p_z[:, None].clamp_min(1e-300)
        values.append(beta * rate - mutual_information(p_z, q))
    return torch.stack(values)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    cases = {
        "12 bits, I = 0.99 bits": (twelve_bit.joint(0.99), 10),
        "12 bits, I = 0.5 bits": (twelve_bit.joint(0.5), 40),
        "512 distinct rows": (distinct(512), 20),
    }
    results = {}
    for name, (joint, clusters) in cases.items():
        ours = information_bottleneck(joint, BETAS, clusters)
        floor = ours.betas * ours.rate - ours.relevance - ours.gap
        theirs = (annealed(joint, clusters) - floor).max().item()
        seconds = in_turn(
            {
                "ours": lambda joint=joint, clusters=clusters: information_bottleneck(
                    joint, BETAS, clusters
                ),
                "annealed": lambda joint=joint, clusters=clusters: annealed(joint, clusters),
            },
            given.repeats,
            warmup=0,
        )
        found = {
            "gap": ours.gap.max().item(),
            "seconds": min(seconds["ours"]),
            "annealed_gap": theirs,
            "annealed_seconds": min(seconds["annealed"]),
            "times_faster": ratio(seconds, "annealed", "ours"),
        }
        results[name] = found
        print(
            f"{name}: gap {found['gap']:.1e} in {found['seconds']:.2f} s; annealed "
            f"{theirs:.1e} in {found['annealed_seconds']:.2f} s "
            f"({found['times_faster']:.1f} times as long)"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
