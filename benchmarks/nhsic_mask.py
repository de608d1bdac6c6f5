"""Scoring all channels of IB-RAR's mask in one call, against one matrix inverse a channel.

    python benchmarks/nhsic_mask.py [--channels 512] [--batch 100] [--pixels 4] [--device cpu]

The slow twin is the textbook's: for each channel its kernel, H K H, and `torch.linalg.inv`, while
the labels' normalised kernel is shared. The published procedure, which is timed too, builds and
inverts both kernels for each channel. All in float64, on the same features.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _timing import in_turn, ratio, save
from torch import Tensor

from narrows.information import gaussian_kernel
from narrows.methods._mask import channel_scores, label_root

EPS = 1e-5


def normalised(kernel: Tensor) -> Tensor:
    """HKH (HKH + eps m I)^-1 by an inverse."""
    m = len(kernel)
    eye = torch.eye(m, dtype=kernel.dtype, device=kernel.device)
    h = eye - 1 / m
    centred = h @ kernel @ h
    return centred @ torch.linalg.inv(centred + EPS * m * eye)


def one_by_one(features: Tensor, labels: Tensor, shared: bool) -> Tensor:
    """Scores `[channels]` in a loop."""
    of_labels = normalised(labels)
    scores = []
    for channel in features.unbind(1):
        other = of_labels if shared else normalised(labels)
        scores.append((normalised(gaussian_kernel(channel)) * other).sum())
    return torch.stack(scores)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--pixels", type=int, default=4, help="of one channel")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    shape = (given.batch, given.channels, given.pixels)
    features = torch.randn(shape, generator=generator, dtype=torch.float64).relu()
    y = torch.randint(10, (given.batch,), generator=generator)
    features, y = features.to(given.device), y.to(given.device)
    labels = (y[:, None] == y).double()

    def finished(scores: Tensor) -> Tensor:
        if scores.is_cuda:
            torch.cuda.synchronize()
        return scores

    ways = {
        "one call": lambda: finished(channel_scores(features, [label_root(y, EPS)], EPS)[0]),
        "an inverse a channel": lambda: finished(one_by_one(features, labels, shared=True)),
        "two inverses a channel": lambda: finished(one_by_one(features, labels, shared=False)),
    }
    seconds = in_turn(ways, given.repeats)
    fast = ways["one call"]()
    results = {}
    for name in list(ways)[1:]:
        found = ratio(seconds, name, "one call")
        apart = (fast - ways[name]()).abs().max().item()
        results[name] = {"ratio": found, "largest_difference": apart}
        print(
            f"{name}: {min(seconds[name]) * 1e3:.1f} ms, one call "
            f"{min(seconds['one call']) * 1e3:.1f} ms, ratio {found:.1f}, "
            f"largest difference {apart:.1e} of scores up to {fast.max().item():.2f}"
        )
    save(given.out, {"shape": shape, "device": given.device, **results})


if __name__ == "__main__":
    main()
