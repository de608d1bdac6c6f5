"""Time attacks on many models in one pass against the same attacks one model after another.

    python benchmarks/stacked_attacks.py [--repeats 3] [--device cpu] [--out stacked_attacks.json]

24 dense networks and 12 small convolutional ones, VIBs that were trained on the digits for a few
epochs. CPU time is compared, of one thread; on another device, wall-clock time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from _timing import save
from torch import nn

from narrows.attacks import APGD, FGSM, PGD, DeepFool, attack_many
from narrows.data import Splits
from narrows.models.bottleneck import as_classifier
from narrows.runs import load_config
from narrows.runs.building import build_members
from narrows.runs.data import load_splits
from narrows.training import fit

NETWORKS = {
    "24 dense networks": (24, {"name": "mlp", "encoder": [64, 64], "decoder": [64]}),
    "12 convolutional networks": (12, {"name": "cnn", "encoder": [8, 16], "decoder": [32]}),
}
ATTACKS = {
    "FGSM": FGSM(eps=0.1),
    "PGD, eps .1": PGD(eps=0.1, steps=20, restarts=2),
    "PGD, eps .02": PGD(eps=0.02, steps=20, restarts=2),
    "APGD, eps .05": APGD(eps=0.05, steps=20, restarts=2),
    "DeepFool": DeepFool(),
}


def train(count: int, network: dict, device: str) -> tuple[list[nn.Module], Splits]:
    """Classifiers of a few epochs, and the data."""
    values = {"methods": ["vib"], "betas": [0.01], "seeds": count, "device": device}
    config = load_config(values={**values, "network": network, "train": {"epochs": 8}})
    splits = Splits(*(part.to(device) for part in load_splits(config)[0]))
    members = build_members(config, "vib", splits.train.shape, splits.train.classes)
    fit(members, splits.train, splits.validation, config.train)
    models = [members.member(index).model.eval() for index in range(count)]
    return [as_classifier(model, mode="mean") for model in models], splits


def seconds(work: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, nargs="*", default=[32, 100, 359])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for kind, (count, network) in NETWORKS.items():
        models, splits = train(count, network, given.device)
        for images in given.images:
            x, y = splits.test.batch(slice(0, images))
            for name, attack in ATTACKS.items():
                ratios, differing = [], 0
                for _ in range(given.repeats):
                    together, alone = [], []

                    def stacked(together=together, attack=attack, x=x, y=y, models=models):
                        together += attack_many(models, attack, x, y)

                    def looped(alone=alone, attack=attack, x=x, y=y, models=models):
                        alone += [attack(model, x, y) for model in models]

                    below = seconds(stacked, given.device)
                    ratios.append(seconds(looped, given.device) / below)
                    pairs = zip(together, alone, strict=True)
                    differing = sum(int((a.success != b.success).sum()) for a, b in pairs)
                row = {"times_faster": median(ratios), "images_that_differ": differing}
                results[f"{kind}, {images} images, {name}"] = row
                print(
                    f"{kind}, {images} images, {name}: {row['times_faster']:.1f} times faster, "
                    f"{differing} of {count * images} images end differently"
                )
    save(given.out, results)


if __name__ == "__main__":
    main()
