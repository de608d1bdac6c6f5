"""HSIC forward and backward against its two matrix products, which are the floor.

    python benchmarks/hsic_products.py [--repeats 20] [--out hsic.json]

512 samples of 3,072 columns with a Gaussian kernel, against a kernel of labels that is held. The
products are x x' forward and (g + g') x backward.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _timing import in_turn, ratio, save

from narrows.information import gaussian_kernel, hsic, linear_kernel


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(512, 3072, generator=draw).requires_grad_()
    label = torch.nn.functional.one_hot(torch.arange(512) % 10, 10).float()
    held = linear_kernel(label)

    def ours(kind: str) -> None:
        x.grad = None
        hsic(gaussian_kernel(x), held, kind).backward()

    def products() -> None:
        plain = x.detach()
        gram = plain @ plain.T
        gram @ plain

    results = {}
    for kind in ("biased", "unbiased"):
        seconds = in_turn({kind: lambda kind=kind: ours(kind), "products": products}, given.repeats)
        found = {
            "ms": min(seconds[kind]) * 1e3,
            "products_ms": min(seconds["products"]) * 1e3,
            "ratio": ratio(seconds, kind, "products"),
        }
        results[kind] = found
        print(
            f"{kind}: {found['ms']:.1f} ms forward and backward, its products "
            f"{found['products_ms']:.1f} ms, ratio {found['ratio']:.2f} (wanted 1.2)"
        )
    save(given.out, results)


if __name__ == "__main__":
    main()
