"""The figures that the estimators are to reach: critics at d = 10, enumeration of a binary net.

    python benchmarks/estimators/figures.py [--samples 20000] [--out figures.json]

Each critic is trained on its share of the samples and read off others; 1.4 nats are to be found
within 10 %. All layers of a 12-10-7-5-4-3-2 net on 4,096 patterns are to be enumerated in 0.5 s.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from _timing import save
from samplers import gaussian

from narrows.data import twelve_bit
from narrows.information import (
    CRITIC_BOUNDS,
    binary_codes,
    binary_tables,
    chain_information,
    fit_critic,
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = {"enumeration": enumeration()}
    print("12-10-7-5-4-3-2: {seconds:.3f} s (wanted 0.5)".format(**results["enumeration"]))
    target = gaussian(10, 1.4)
    x, z, *_ = target.sample(given.samples, 0)
    for bound in CRITIC_BOUNDS:
        began = time.perf_counter()
        estimate = fit_critic(x, z, bound)
        results[bound] = {
            "nats": estimate.nats,
            "std_error": estimate.std_error,
            "off": estimate.nats / target.information - 1,
            "seconds": time.perf_counter() - began,
        }
        print(
            "{0}: {nats:.3f} of 1.4 nats ({off:+.1%}) in {seconds:.1f} s".format(
                bound, **results[bound]
            )
        )
    save(given.out, results)


def enumeration() -> dict[str, float]:
    """The best of three, and how much the first layer passes."""
    draw = torch.Generator().manual_seed(0)
    sizes = [12, 10, 7, 5, 4, 3, 2]
    layers = [
        (torch.randn(b, a, generator=draw), torch.randn(b, generator=draw))
        for a, b in pairwise(sizes)
    ]
    x, joint = binary_codes(12), twelve_bit.joint()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        informations = chain_information(binary_tables(x, layers), joint)
        seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds), "first_layer_nats": informations[0].rate}


if __name__ == "__main__":
    main()
