"""Several processes that train one model together, started by `torchrun`.

Each takes a share of every batch, and the gradients are added up, weighted by the sizes of the
shares: the gradient of a mean over the batch. All draw the noise of the whole batch and use that of
their share. So the result is that of one process up to the order in which float32 numbers are
added, unless the loss or the network couples the inputs of a batch.

The first process leads: it alone writes the folder of a run. The others follow: they train what it
announces, and do nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from narrows.errors import EngineError

__all__ = ["Processes", "Share", "joined_processes"]

_WAIT = timedelta(days=30)  # of the others, while the first one measures


class Share(NamedTuple):
    """What one process takes of a batch.

    Attributes:
        rows: of the batch.
        weight: of its mean in that of the batch.
    """

    rows: slice
    weight: float


class Processes:
    """The processes that train one model.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def leads(self) -> bool:
        """Whether this process reads and writes files."""
        return self.rank == 0

    def share(self, size: int) -> Share:
        """What this process takes of a batch; of one with too few inputs, each takes all.

        Args:
            size: of the batch.
        """
        if size < self.count:
            return Share(slice(None), 1 / self.count)
        rows = slice(self.rank, None, self.count)
        return Share(rows, len(range(size)[rows]) / size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one device by their sums over all processes.

        Raises:
            EngineError: if another process has stopped.
        """
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _all_there():
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        self.add_up(tensors)
        for tensor in tensors:
            tensor /= self.count

    def announce(self, task: str | None) -> None:
        """Say to those that follow what is trained next; `None` for nothing more."""
        if self.count > 1:
            with _all_there():
                dist.broadcast_object_list([task], src=0)

    def announced(self) -> str | None:
        """Wait for what the first process announces."""
        task: list[str | None] = [None]
        with _all_there():
            dist.broadcast_object_list(task, src=0)
        return task[0]


@contextmanager
def _all_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise EngineError(
            "another process of this training has stopped; the same command continues from the "
            "last checkpoint"
        ) from error


@contextmanager
def joined_processes(device: str = "cpu") -> Iterator[Processes]:
    """The processes that `torchrun` has started, or this one alone.

    Args:
        device: on which they train; each process takes a GPU of its own.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        yield Processes()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, timeout=_WAIT)
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
