"""A network of our own that is taught to say what the audited model says, for attacks to transfer.

    min_s E_{x'} KL(q_model(. | x') || q_s(. | x')),  x' near the audited images

Half of the points x' are uniform in the ball of twice eps; after the first round, the other half
lie on the way to where an attack on the surrogate has led, so that it learns where it was wrong.

Source: Papernot et al. (2017), arXiv 1602.02697, whose augmentation steps along the
surrogate's own gradient too. Deviations: the answers are the model's probabilities, flattened where
they saturate, and the model's noise averages out in training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.attacks.norms import per_image, random_start
from narrows.models.mlp import mlp
from narrows.models.outputs import logits_of

if TYPE_CHECKING:
    from narrows.audit._base import Case

__all__ = ["distil"]

_WIDTH = 256
_BATCH = 128
_ROUNDS = 3
_STEPS = 10  # of training, for each of an attack


def distil(case: Case) -> nn.Module:
    """Train a multi-layer perceptron on the model's own answers around the audited images.

    Args:
        case: gives model, images, radius and seed; the budget's steps say how long to train.
    """
    with torch.random.fork_rng([case.x.device] if case.x.is_cuda else []), torch.enable_grad():
        torch.manual_seed(case.seed)
        layers = mlp([case.x[0].numel(), _WIDTH, _WIDTH, case.classes])
        student = nn.Sequential(nn.Flatten(), *layers).to(case.x)
        optimiser = torch.optim.Adam(student.parameters(), 2e-3)
        generator = case.generator()
        goal = case.x
        for _ in range(_ROUNDS):
            for _ in range(_STEPS * case.budget.steps):
                x = _points(case, goal, generator)
                with torch.no_grad():
                    said = _softened(logits_of(case.model, x))
                optimiser.zero_grad()
                F.kl_div(student(x).log_softmax(1), said, reduction="batchmean").backward()
                optimiser.step()
            goal = case.pgd(loss="margin", steps=10)(student, case.x, case.y).x_adv
    return student.eval().requires_grad_(False)


def _points(case: Case, goal: Tensor, generator: torch.Generator) -> Tensor:
    """Points to ask the model about: around the images, and on the way to `goal: [n, ...]`."""
    rows = torch.randint(len(case.x), (_BATCH,), generator=generator, device=case.x.device)
    x = case.x[rows]
    radius = min(2 * case.eps, 1.0) if case.norm == "linf" else 2 * case.eps
    around = x + random_start(x, case.norm, radius, generator)
    share = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
    way = x + 1.2 * per_image(share, x) * (goal[rows] - x)
    way = way + random_start(x, case.norm, case.eps / 4, generator)
    half = per_image(torch.arange(len(x), device=x.device) % 2 == 0, x)
    return torch.where(half, around, way).clamp(0, 1)


def _softened(logits: Tensor) -> Tensor:
    """Probabilities whose typical gap is a few nats: saturated answers teach only their argmax."""
    top = logits.topk(2, 1).values
    gap = (top[:, 0] - top[:, 1]).median().clamp_min(math.ulp(1.0))
    return (logits * (4 / gap)).softmax(1)
