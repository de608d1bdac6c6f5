"""Keep the parameters of a method equal in all processes that train one model together.

`DistributedDataParallel` averages the gradients of the model that it wraps, but not those of the
method: class means, critics and learned priors. This module copies their values from the first
process once, and averages their gradients whenever they are computed.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn

from narrows.models.tap import Tap

__all__ = ["equalise"]

_MARK = "_narrows_averaged"


def equalise(method: nn.Module, model: nn.Module) -> None:
    """Keep the method equal where `model` is distributed over several processes.

    Buffers, such as the moving average of a critic, are copied from the first process in every
    call, as `DistributedDataParallel` does with those of the model.
    """
    if not _distributed(model) or dist.get_world_size() == 1:
        return
    for parameter in method.parameters():
        if parameter.requires_grad and not hasattr(parameter, _MARK):
            dist.broadcast(parameter.detach(), src=0)
            parameter.register_hook(_averaged)
            setattr(parameter, _MARK, True)
    for buffer in method.buffers():
        dist.broadcast(buffer, src=0)


def _distributed(model: nn.Module) -> bool:
    if not (dist.is_available() and dist.is_initialized()):
        return False
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            return True
        if isinstance(model, Tap):
            model = model.model
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return False


def _averaged(gradient: Tensor) -> Tensor:
    mean = gradient.clone()
    dist.all_reduce(mean)
    return mean / dist.get_world_size()
