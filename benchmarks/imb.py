"""What a step of JointIMB costs, against SFNN's and against a loop over draws; and its memory.

    python benchmarks/imb.py [--repeats 3] [--samples 32] [--out imb.json]

A 784-512-512-10 binary network, M draws a layer, so M^2 leaves an input. All sides do the forward
and backward pass and a step of Adamax. "loop" is the same objective with one small forward pass a
node, as one would write it first; in chunks, trees are drawn twice. Memory is what a step holds at
its peak beyond weights and data (Linux only), each side in a process of its own.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from _timing import in_turn, ratio, save
from torch import Tensor

from narrows.methods import SFNN, JointIMB
from narrows.methods._trees import binary_divergence
from narrows.models import BinaryStochasticNet

HIDDEN = (512, 512)


def looped_loss(net: BinaryStochasticNet, method: JointIMB, x: Tensor, y: Tensor) -> Tensor:
    """JointIMB of two hidden layers, a node at a time."""
    first, second, last = net.linear_layers()
    m = method.samples

    def draw(a: Tensor) -> Tensor:
        p = a.sigmoid()
        return p + (torch.bernoulli(p) - p).detach()

    a1 = first(x)
    costs, said = [], []
    for _ in range(m):
        a2 = second(draw(a1))
        costs.append(binary_divergence(a2, method.log_odds[1]))
        leaves = [F.log_softmax(last(draw(a2)), 1).gather(1, y[:, None])[:, 0] for _ in range(m)]
        said.append(torch.stack(leaves))
    log_p = torch.stack(said)
    of_node = log_p.logsumexp(1) - math.log(m)
    vcr = of_node.logsumexp(0).mean() - math.log(m) + of_node.mean() + log_p.mean()
    cost = binary_divergence(a1, method.log_odds[0]).mean() + torch.stack(costs).mean()
    return method.beta * cost - vcr


def step_of(kind: str, batch: int, samples: int) -> Callable[[], None]:
    """One training step of an alternative, ready to run."""
    torch.manual_seed(0)
    net = BinaryStochasticNet(784, HIDDEN, 10)
    chunk = max(1, batch // 8) if kind == "chunks" else None
    method = JointIMB(1e-4, HIDDEN, samples=samples, chunk=chunk)
    x, y = torch.rand(batch, 784), torch.randint(10, (batch,))
    optimiser = torch.optim.Adamax([*net.parameters(), *method.parameters()], 0.01)
    losses = {
        "sfnn": lambda: SFNN(samples=samples)(net, x, y),
        "loop": lambda: looped_loss(net, method, x, y),
    }

    def step() -> None:
        optimiser.zero_grad()
        losses.get(kind, lambda: method(net, x, y))().backward()
        optimiser.step()

    return step


def peak_megabytes(kind: str, batch: int, samples: int) -> float:
    """Memory at the peak of a step, beyond what is there before it."""
    torch.set_num_threads(1)
    step = step_of(kind, batch, samples)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - pages * resource.getpagesize()) / 2**20


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    kinds = ["joint", "sfnn", "chunks", "loop"]
    cases = [(kind, batch, given.samples) for batch in given.batches for kind in kinds]
    # First of all: a process begins with its parent's peak.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        megabytes = dict(zip(cases, pool.starmap(peak_megabytes, cases, chunksize=1), strict=True))
    results = {}
    for batch in given.batches:
        steps = {kind: step_of(kind, batch, given.samples) for kind in kinds}
        seconds = in_turn(steps, given.repeats)
        results[str(batch)] = {}
        for kind in kinds:
            found = {
                "ms": min(seconds[kind]) * 1e3,
                "of_joint": ratio(seconds, kind, "joint"),
                "megabytes": megabytes[kind, batch, given.samples],
            }
            results[str(batch)][kind] = found
            print(
                f"batch {batch:3}, M = {given.samples}, {kind:6}: {found['ms']:7.0f} ms a step, "
                f"{found['of_joint']:.2f} x joint, peak {found['megabytes']:.0f} MB"
            )
    save(given.out, results)


if __name__ == "__main__":
    main()
