"""Time our nearest-neighbour estimates of information against NPEET's, at the same numbers.

    python benchmarks/ksg.py [--repeats 5] [--out ksg.json]

`npeet_plus` (`pip install npeet_plus`) queries scikit-learn's trees; it adds noise of 1e-10, so the
estimates agree to about that. Ours is timed without its standard error, which NPEET has none of.
Install SciPy for both: without it ours finds neighbours by brute force in few dimensions too.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from _timing import in_turn, ratio, save
from npeet_plus import mi

from narrows.information.ksg import _vectors

CASES = [
    *((d, n) for d in (1, 2, 3, 5, 10, 20) for n in (1000, 5000)),
    *((d, 20_000) for d in (1, 2, 3)),
    (50, 2000),
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = {}
    for d, n in CASES:
        draw = torch.Generator().manual_seed(0)
        x, other = torch.randn(2, n, d, dtype=torch.float64, generator=draw)
        z = 0.6 * x + 0.8 * other
        ours = _vectors(x, z, 3, 1)[0]
        theirs = mi(x.numpy(), z.numpy(), k=3, base=math.e)
        seconds = in_turn(
            {
                "ours": lambda x=x, z=z: _vectors(x, z, 3, 1),
                "npeet": lambda x=x, z=z: mi(x.numpy(), z.numpy(), k=3),
            },
            given.repeats,
        )
        found = {
            "difference_nats": abs(ours - theirs),
            "seconds": min(seconds["ours"]),
            "npeet_seconds": min(seconds["npeet"]),
            "times_faster": ratio(seconds, "npeet", "ours"),
        }
        results[f"d = {d}, n = {n}"] = found
        print(
            f"d = {d}, n = {n}: ours {found['seconds']:.4f} s, NPEET "
            f"{found['npeet_seconds']:.4f} s, {found['times_faster']:.2f} times faster, apart "
            f"{found['difference_nats']:.1e}"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
