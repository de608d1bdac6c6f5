"""Networks that the audit trains plainly, from training data, for attacks to transfer from.

    min_t  E_(x, y) CE(t(x), y),   y the true label, or the class that the model predicts

| name               | network                                                | labels          |
|--------------------|--------------------------------------------------------|-----------------|
| `retrained`        | the model's own architecture with new parameters       | the true ones   |
| `retrained_labels` | the same                                               | the model's     |
| `small`            | an MLP, or a CNN of two convolutions for larger images | the true ones   |
| `small_labels`     | the same                                               | the model's     |
| `together`         | all of these at once                                   |                 |

The architecture is that of the innermost classifier inside the model, so that what a defence puts
around it is left out. Without training data the audited images themselves are trained on, moved by
noise: such a twin is weaker.

Source: Papernot et al. (2016), arXiv 1605.07277, on transfer; Carlini et al. (2019), arXiv
1902.06705, who ask for a transferability analysis from undefended models.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.attacks.norms import random_start
from narrows.audit._claim import Claim
from narrows.audit._inside import core_of
from narrows.models.mlp import mlp
from narrows.models.noise import forked_rng
from narrows.models.outputs import logits_of

__all__ = ["TWINS", "Together", "reinitialised", "small_network", "train_twin"]

TWINS = ("retrained", "small", "retrained_labels", "small_labels")
_BATCH = 128
_RATE = 2e-3
_STEPS = 10  # of training, for each step of an attack
_SMALL = 16  # side below which an image gets an MLP
_GAP = 4.0  # nats between the best two classes
_LEAST = 1.5  # times chance that a twin must be right, or it has learned nothing


def train_twin(claim: Claim, *, same: bool, model_labels: bool) -> nn.Module | None:
    """Train a network on the claim's training data, or on its images where it has none.

    Args:
        claim: gives model, data, radius and seed; the budget's steps say how long to train.
        same: train the model's own architecture, not the small default one.
        model_labels: teach the classes that the model predicts.

    Returns:
        The network, or None if the architecture cannot be copied or learns nothing.
    """
    x, y = claim.training or (claim.x, claim.y)
    with forked_rng(x.device, claim.seed):
        network = _network(claim, same)
        if network is None:
            return None
        try:
            if model_labels:
                y = torch.cat([claim.judge(part, labels).logits.argmax(1) for part, labels in
                               zip(x.split(1024), y.split(1024), strict=True)])  # fmt: skip
            _fit(claim, network, x, y)
        except Exception as error:  # whatever a third-party architecture raises when it is trained
            logging.getLogger(__name__).warning("no twin could be trained: %s", error)
            return None
    network = network.eval().requires_grad_(False)
    with torch.no_grad(), forked_rng(x.device, claim.seed):
        right = (logits_of(network, claim.x).argmax(1) == claim.y).double().mean().item()
    return network if right > _LEAST / claim.classes else None


def _network(claim: Claim, same: bool) -> nn.Module | None:
    if not same:
        return small_network(claim.x, claim.classes)
    with claim.quiet():
        sample = claim.x[:2].to(claim.subject.takes)
        core = core_of(claim.model, sample, claim.classes)
    try:
        return reinitialised(claim.model if core is None else core).to(claim.x.dtype)
    except Exception:  # locks, open files and graphs cannot be copied
        return None


class Together(nn.Module):
    """The mean of several networks' log-probabilities, each at a usual temperature.

    Args:
        networks: to be averaged.
        x: `[n, ...]` images, whose median gap of logits is the unit of each network.
    """

    def __init__(self, networks: Sequence[nn.Module], x: Tensor) -> None:
        super().__init__()
        self.networks = tuple(networks)  # not modules of this one: their mode is their own
        self.takes = x.dtype
        with torch.no_grad():
            tops = [logits_of(network, x).topk(2, 1).values for network in networks]
        gaps = [(top[:, 0] - top[:, 1]).median().item() for top in tops]
        self.scales = [_GAP / gap if gap > 0 else 1.0 for gap in gaps]

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities `[n, classes]`."""
        shown = x.to(self.takes)  # a view in double precision may borrow the gradient
        scaled = zip(self.networks, self.scales, strict=True)
        parts = [(scale * logits_of(network, shown)).log_softmax(1) for network, scale in scaled]
        return torch.stack(parts).mean(0)


def small_network(x: Tensor, classes: int) -> nn.Module:
    """An MLP for small or flat images `x: [n, ...]`, a CNN of two convolutions for larger ones."""
    if x.dim() != 4 or min(x.shape[-2:]) < _SMALL:
        layers: list[nn.Module] = [nn.Flatten(), *mlp([x[0].numel(), 256, 256, classes])]
    else:
        layers = [
            *(nn.Conv2d(x.shape[1], 32, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(32, 64, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(7), nn.Flatten()),
            *(nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, classes)),
        ]
    return nn.Sequential(*layers).to(x)


def reinitialised(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters are drawn anew, to be trained.

    Modules draw theirs as they do when they are made. A matrix that no module draws is replaced by
    normal numbers of the same standard deviation.

    Raises:
        ValueError: if the model has no parameters.
    """
    twin = copy.deepcopy(model).requires_grad_(True)
    before = {name: part.detach().clone() for name, part in twin.named_parameters()}
    if not before:
        raise ValueError("the model has no parameters")
    for module in twin.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    with torch.no_grad():
        for name, part in twin.named_parameters():
            if part.dim() > 1 and torch.equal(part, before[name]):
                part.normal_(0, max(part.std().item(), 1e-3))
    return twin


def _fit(claim: Claim, network: nn.Module, x: Tensor, y: Tensor) -> None:
    """Adam on the cross-entropy of shuffled batches, by the budget's number of steps."""
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), _RATE)
    generator = claim.generator()
    with torch.enable_grad():
        for _ in range(_STEPS * claim.budget.steps):
            size = (min(_BATCH, len(x)),)
            rows = torch.randint(len(x), size, generator=generator, device=x.device)
            batch = x[rows]
            if claim.training is None:
                batch = batch + random_start(batch, claim.norm, claim.eps, generator)
            logits = logits_of(network, batch.clamp(0, 1))
            if claim.probabilities and (logits >= 0).all():
                logits = logits.clamp_min(torch.finfo(logits.dtype).tiny).log()
            optimiser.zero_grad()
            F.cross_entropy(logits, y[rows]).backward()
            optimiser.step()
