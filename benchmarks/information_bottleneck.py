"""Measure the exact solver of the discrete bottleneck beside its rivals: gap and time.

    python benchmarks/information_bottleneck.py [--rows 4096] [--repeats 3] [--out bottleneck.json]

All on the same betas and at most as many clusters. The rivals' gaps are measured against our
proven floor. Annealed Blahut-Arimoto stops when no p(z|x) changes by more than a tolerance; it is
run on all 4,096 x, as anybody would write it, and on the x merged as ours are. `embo` (GPL, `pip
install embo`) gets |Z| = 10 and beta in its units, ln 2 / beta; at its default of 100 iterations it
is far off near the transition.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _timing import in_turn, ratio, save
from torch import Tensor

from narrows.checks import check_joint
from narrows.data import twelve_bit
from narrows.information import IBSolution, blahut_arimoto, information_bottleneck
from narrows.information._joint import Source, merge_rows, mutual_information

BETAS = torch.logspace(-2, -0.01, 50, dtype=torch.float64)


def distinct(rows: int) -> Tensor:
    """A joint whose rows all differ."""
    p = torch.linspace(0.01, 0.99, rows, dtype=torch.float64)
    return torch.stack([p, 1 - p], 1) / rows


def annealed(joint: Tensor, clusters: int, tolerance: float, merge: bool) -> Tensor:
    """Objective beta I(X;Z) - I(Z;Y) at each beta, by the three equations and nothing else."""
    joint = check_joint(joint)
    source = Source(joint.sum(1), joint / joint.sum(1, keepdim=True))
    source = merge_rows(joint)[0] if merge else source
    entropy = torch.special.xlogy(source.p_y, source.p_y).sum(1, keepdim=True)
    draw = torch.Generator().manual_seed(0)
    encoder = torch.rand(len(source.p_x), clusters, dtype=torch.float64, generator=draw) ** 8
    encoder /= encoder.sum(1, keepdim=True)
    values = []
    for beta in BETAS:
        for _ in range(20_000):
            p_z = source.p_x @ encoder
            q = (source.p_x[:, None] * encoder).T @ source.p_y / p_z[:, None].clamp_min(1e-300)
            d = entropy - source.p_y @ q.clamp_min(1e-300).log().T
            new = (p_z.log() - d / beta).softmax(1)
            change = (new - encoder).abs().max()
            encoder = new
            if change < tolerance:
                break
        values.append(objective(source, encoder, beta))
    return torch.stack(values)


def objective(source: Source, encoder: Tensor, beta: Tensor) -> Tensor:
    """Beta I(X;Z) - I(Z;Y)."""
    joint_zy = (source.p_x[:, None] * encoder).T @ source.p_y
    p_z = source.p_x @ encoder
    relevance = mutual_information(p_z, joint_zy / p_z[:, None].clamp_min(1e-300))
    return beta * mutual_information(source.p_x, encoder) - relevance


def embo(joint: Tensor, clusters: int, iterations: int, rtol: float) -> Tensor | None:
    """The same objective from embo, three starts a beta; None where it is not installed."""
    try:
        from embo.core import InformationBottleneck
    except ImportError:
        return None
    joint = check_joint(joint).numpy()
    p_x, p_y = joint.sum(1), joint.sum(0)
    values = []
    for beta in BETAS.tolist():
        rate, relevance, *_ = InformationBottleneck.beta_iter(
            1, math.log(2) / beta, p_x, p_y, joint.T / p_x, clusters, 3, iterations, rtol
        )
        values.append((beta * rate - relevance) * math.log(2))
    return torch.tensor(values, dtype=torch.float64)


def against(joint: Tensor, clusters: int, rivals: dict[str, Callable[[], Any]], repeats: int):
    """Time and gap of ours and of each rival, in one run."""
    ours = information_bottleneck(joint, BETAS, clusters)
    floor = BETAS * ours.rate - ours.relevance - ours.gap
    gaps: dict[str, float] = {"ours": ours.gap.max().item()}
    for name, rival in rivals.items():
        found = rival()
        if isinstance(found, IBSolution):
            found = BETAS * found.rate - found.relevance
        if found is not None:
            gaps[name] = (found - floor).max().item()
    work = {"ours": lambda: information_bottleneck(joint, BETAS, clusters)}
    work |= {name: rival for name, rival in rivals.items() if name in gaps}
    seconds = in_turn(work, repeats, warmup=0)
    return {
        name: {
            "gap_nats": gap,
            "seconds": min(seconds[name]),
            "times_as_long": ratio(seconds, name, "ours"),
        }
        for name, gap in gaps.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4096, help="of the joint without equal rows")
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--tolerance", type=float, default=1e-9, help="of annealed Blahut-Arimoto")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    bits, different = twelve_bit.joint(0.99), distinct(given.rows)
    tol = given.tolerance
    rivals = {
        "annealed, equal rows merged": lambda: annealed(bits, 10, tol, merge=True),
        "batched Blahut-Arimoto": lambda: blahut_arimoto(bits, BETAS, 10, tol, restarts=1),
    }
    if not given.quick:
        rivals["embo, its defaults"] = lambda: embo(bits, 10, 100, 1e-3)
        rivals["embo, 1,000 iterations"] = lambda: embo(bits, 10, 1000, 1e-9)
        rivals["annealed, all 4,096 rows"] = lambda: annealed(bits, 10, tol, merge=False)
    cases = {
        "12 bits, I = 0.99 bits": against(bits, 10, rivals, given.repeats),
        f"{given.rows} distinct rows": against(
            different,
            20,
            # Far from converged, and already many times as long.
            {
                "batched Blahut-Arimoto, 12 x 20 updates": lambda: blahut_arimoto(
                    different, BETAS, 20, 1e-9, restarts=1, max_iterations=20
                )
            },
            1,
        ),
    }
    for case, found in cases.items():
        print(f"{case}:")
        for name, one in found.items():
            print(
                f"  {name}: gap {one['gap_nats']:.1e} nats in {one['seconds']:.2f} s, "
                f"{one['times_as_long']:.1f} times as long as ours"
            )
    save(given.out, cases)


if __name__ == "__main__":
    main()
