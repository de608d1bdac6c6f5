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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.attacks.norms import per_image, random_start
from narrows.audit._claim import Claim
from narrows.models.mlp import mlp
from narrows.models.noise import forked_rng

__all__ = ["distil"]

_WIDTH = 256
_BATCH = 128
_ROUNDS = 3
_STEPS = 10  # of training, for each of an attack


def distil(claim: Claim, *, labels_only: bool = False) -> nn.Module:
    """Train a multi-layer perceptron on the model's own answers around the audited images.

    Args:
        claim: gives model, images, radius and seed; the budget's steps say how long to train.
        labels_only: teach the classes alone, where confidence may be what misleads.

    Returns:
        A network in the precision of the audit, float32 at least, whatever the model computes in.
    """
    with forked_rng(claim.x.device, claim.seed), torch.enable_grad():
        layers = mlp([claim.x[0].numel(), _WIDTH, _WIDTH, claim.classes])
        student = nn.Sequential(nn.Flatten(), *layers).to(claim.x)
        optimiser = torch.optim.Adam(student.parameters(), 2e-3)
        generator = claim.generator()
        goal = claim.x
        for _ in range(_ROUNDS):
            for _ in range(_STEPS * claim.budget.steps):
                x = _points(claim, goal, generator)
                with torch.no_grad():
                    answers = _taught(claim.subject(x), labels_only).to(claim.x.dtype)
                optimiser.zero_grad()
                F.kl_div(student(x).log_softmax(1), answers, reduction="batchmean").backward()
                optimiser.step()
            goal = claim.pgd(loss="margin", steps=10)(student, claim.x, claim.y).x_adv
    return student.eval().requires_grad_(False)


def _points(claim: Claim, goal: Tensor, generator: torch.Generator) -> Tensor:
    """Points to ask the model about: around the images, and on the way to `goal: [n, ...]`."""
    rows = torch.randint(len(claim.x), (_BATCH,), generator=generator, device=claim.x.device)
    x = claim.x[rows]
    radius = min(2 * claim.eps, 1.0) if claim.norm == "linf" else 2 * claim.eps
    around = x + random_start(x, claim.norm, radius, generator)
    share = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
    way = x + 1.2 * per_image(share, x) * (goal[rows] - x)
    way = way + random_start(x, claim.norm, claim.eps / 4, generator)
    half = per_image(torch.arange(len(x), device=x.device) % 2 == 0, x)
    return torch.where(half, around, way).clamp(0, 1)


def _taught(logits: Tensor, labels_only: bool) -> Tensor:
    """Probabilities `[n, C]` that the student is to give: of the classes alone, or softened.

    Softened means that their typical gap is a few nats: saturated answers teach only their argmax.
    """
    if labels_only:
        return F.one_hot(logits.argmax(1), logits.shape[1])
    top = logits.topk(2, 1).values
    gap = (top[:, 0] - top[:, 1]).median().clamp_min(math.ulp(1.0))
    return (logits * (4 / gap)).softmax(1)
