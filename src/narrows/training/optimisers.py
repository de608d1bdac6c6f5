"""The optimisers that training settings name, and the clipping of gradients.

    g <- g min(1, clip_norm / (|g| + 1e-6))

Updates are elementwise, so that members of a stack are independent. Only the norm depends on all
gradients of a model; in a stack each member has its own norm.

Sources: SGD with momentum as in torch (no dampening); Adam and Adamax: Kingma & Ba (2015), arXiv
1412.6980, Algorithms 1 and 2; Adadelta: Zeiler (2012), arXiv 1212.5701; Adagrad: Duchi, Hazan &
Singer (2011), JMLR 12; clipping: Pascanu, Mikolov & Bengio (2013), arXiv 1211.5063.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, Optimizer

from narrows.training.config import TrainConfig

__all__ = ["clip_gradients", "critic_optimiser", "model_optimiser"]


def model_optimiser(parameters: Sequence[nn.Parameter], config: TrainConfig) -> Optimizer:
    """The optimiser that the settings name, for what the model's step trains."""
    rate, decay = config.learning_rate, config.weight_decay
    betas = (config.adam_beta1, 0.999)
    match config.optimiser:
        case "adam":
            return Adam(parameters, rate, betas, weight_decay=decay, fused=True)
        case "sgd":
            momentum, ahead = config.momentum, config.nesterov
            return SGD(parameters, rate, momentum, 0, decay, nesterov=ahead, fused=True)
        case "adadelta":
            return Adadelta(parameters, rate, weight_decay=decay)
        case "adagrad":
            return Adagrad(parameters, rate, weight_decay=decay)
        case "adamax":
            return Adamax(parameters, rate, betas, weight_decay=decay)


def critic_optimiser(parameters: Sequence[nn.Parameter], config: TrainConfig) -> Optimizer:
    """Adam with the critic's own rate, whichever optimiser trains the model."""
    betas = (config.critic_adam_beta1, 0.999)
    return Adam(parameters, config.critic_learning_rate, betas, fused=True)


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float, *, stacked: bool) -> None:
    """Scale the gradients down to an L2 norm of at most `limit`, in place.

    Args:
        parameters: of one model, or of a stack.
        limit: largest norm over all parameters of a model.
        stacked: whether the first axis of each parameter is that of members.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    rows = [g.reshape(len(g) if stacked else 1, -1) for g in gradients]
    norms = torch.stack([torch.linalg.vector_norm(row, dim=1) for row in rows])
    norm = torch.linalg.vector_norm(norms, dim=0)
    factor = (limit / (norm + 1e-6)).clamp_max(1)
    for gradient, row in zip(gradients, rows, strict=True):
        gradient.copy_((row * factor[:, None]).view_as(gradient))
