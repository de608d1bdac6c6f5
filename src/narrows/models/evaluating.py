"""Run a model in evaluation mode, and restore its modes afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["evaluating"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside the block, every layer is in evaluation mode: no dropout, fixed running statistics.

    A frozen TorchScript module has no mode, and a module of `torch.export` refuses `eval()`: both
    stay as they were saved. Replicas of `DistributedDataParallel` do not synchronise gradients.
    """
    # A frozen TorchScript module has no attribute `training`.
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    with ExitStack() as stack:
        for module, _ in modes:
            if isinstance(module, DistributedDataParallel):
                stack.enter_context(module.no_sync())
        try:
            if any(training for _, training in modes):
                with suppress(NotImplementedError):  # which exported modules raise
                    model.eval()
            yield
        finally:
            for module, training in modes:
                module.training = training
