"""How much of a run's FGSM accuracy is float32's: the same attack in float64, and by the margin.

    python benchmarks/float64_fgsm.py RUN_FOLDER METHOD [--images 1000] [--out float64.json]

Where logits are far apart, the gradient of the cross-entropy underflows in float32, FGSM does not
move the image, and the model looks robust. In float64 it moves. `zero` is the share of images whose
float32 gradient is exactly zero everywhere.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import torch
from _timing import save

from narrows.attacks import FGSM
from narrows.data import load
from narrows.experiments.config import load_config
from narrows.experiments.engine import build_members
from narrows.experiments.store import read_json
from narrows.models import as_classifier
from narrows.storage import load_tensors


def zero_gradients(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of images at which the cross-entropy's gradient is zero in every pixel."""
    x = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
    return (x.grad == 0).flatten(1).all(1).double().mean().item()


def main() -> None:
    """Measure every member of one method and print means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("method")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    config = load_config(values=read_json(given.run / "config.json"))
    splits = load(config.data, validation_share=config.validation_share)
    members = build_members(config, given.method, splits)
    tensors, header = load_tensors(given.run / given.method / "models.safetensors")
    members.load(tensors)
    x, y = splits.test.batch(slice(0, given.images))
    rows = defaultdict(list)
    for index, about in enumerate(header["members"]):
        model = as_classifier(members.member(index).model, mode="mean")
        measured = {"zero": zero_gradients(model, x, y)}
        for eps in config.evaluate.eps:
            measured[f"float32 {eps:g}"] = FGSM(eps=eps)(model, x, y).robust_accuracy
            margin = FGSM(eps=eps, loss="margin")(model, x, y)
            measured[f"margin {eps:g}"] = margin.robust_accuracy
        model.double()
        for eps in config.evaluate.eps:
            measured[f"float64 {eps:g}"] = FGSM(eps=eps)(model, x.double(), y).robust_accuracy
        rows[about["beta"]].append(measured)
    table = {
        beta: {name: fmean(one[name] for one in found) for name in sorted(found[0])}
        for beta, found in rows.items()
    }
    for beta, found in table.items():
        print(
            f"beta {beta:g}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        )
    save(given.out, {"run": given.run.name, "method": given.method, "rows": table})


if __name__ == "__main__":
    main()
