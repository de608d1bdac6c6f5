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

from narrows import FGSM, Run, as_classifier


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
    run = Run.open(given.run)
    x, y = run.splits.test.batch(slice(0, given.images))
    rows = defaultdict(list)
    for member in run.members([given.method]):
        model = as_classifier(run.model(member), mode="mean")
        measured = {"zero": zero_gradients(model, x, y)}
        for eps in run.config.evaluate.eps:
            measured[f"float32 {eps:g}"] = FGSM(eps=eps)(model, x, y).robust_accuracy
            margin = FGSM(eps=eps, loss="margin")(model, x, y)
            measured[f"margin {eps:g}"] = margin.robust_accuracy
        model.double()
        for eps in run.config.evaluate.eps:
            measured[f"float64 {eps:g}"] = FGSM(eps=eps)(model, x.double(), y).robust_accuracy
        rows[member.beta].append(measured)
    table = {
        beta: {name: fmean(row[name] for row in group) for name in sorted(group[0])}
        for beta, group in rows.items()
    }
    for beta, means in table.items():
        print(f"beta {beta:g}: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()))
    save(given.out, {"run": given.run.name, "method": given.method, "rows": table})


if __name__ == "__main__":
    main()
