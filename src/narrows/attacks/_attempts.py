"""How a ledger stores its attacks, the worst attempt at each image, and the header of its file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from narrows.errors import CheckpointError
from narrows.storage import convert_header, load_tensors, save_tensors
from narrows.types import Norm

__all__ = ["Attempts", "Entry", "Header", "check_form", "read_ledger", "write_ledger"]

_KIND = "ledger"


@dataclass(frozen=True)
class Entry:
    """One attack of a ledger.

    Attributes:
        name: what the ledger calls it.
        attack: its `repr`, by which the ledger knows that an attack was run already.
        attacked: number of images that it attacked.
        fooled: how many of them it fooled.
        robust_accuracy: of all images, after this attack and those before it.
        forwards: images sent forward.
        backwards: images whose gradient was taken.
    """

    name: str
    attack: str
    attacked: int
    fooled: int
    robust_accuracy: float
    forwards: int
    backwards: int


@dataclass(frozen=True)
class Header:
    """The part of a ledger's file that is not tensors.

    Attributes:
        digest: SHA-256 of images, labels, targets and weights.
        norm: in which sizes are measured.
        eps: radius within which a perturbation counts; `None` for any.
        looked: images that were sent forward to record the model's logits.
        entries: the attacks.
        kind: of the file.
    """

    digest: str
    norm: Norm
    eps: float | None
    looked: int
    entries: list[Entry]
    kind: str = _KIND


@dataclass
class Attempts:
    """The worst attempts of one kind, those that fooled the model or those that did not.

    Attributes:
        x: `[n, ...]`, the attacked images.
        size: `[n]`, of the perturbations; inf where there is no attempt.
        by: `[n]`, number of the attack; -1 where there is no attempt.
        rate: `[n]`, the largest share of draws that any attempt of this kind fooled.
    """

    x: Tensor
    size: Tensor
    by: Tensor
    rate: Tensor

    @classmethod
    def none_at(cls, x: Tensor) -> Attempts:
        """No attempt at any of `x: [n, ...]` yet."""
        size = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
        by = torch.full((len(x),), -1, device=x.device)
        return cls(x.clone(), size, by, torch.zeros_like(size))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], kind: str) -> Attempts:
        """Inverse of `named`."""
        return cls(**{field.name: tensors[f"{kind}.{field.name}"] for field in fields(cls)})

    def named(self, kind: str) -> dict[str, Tensor]:
        """All tensors by their names in a file."""
        return {f"{kind}.{field.name}": getattr(self, field.name) for field in fields(self)}

    def offer(
        self,
        rows: Tensor,
        x: Tensor,
        size: Tensor,
        rate: Tensor,
        number: int,
        *,
        better: Tensor,
        among: Tensor,
    ) -> None:
        """Store those of `b` attempts that are worse for the model than what is stored.

        Args:
            rows: `[b]`, the image of each attempt.
            x: `[b, ...]`, the attacked images.
            size: `[b]`, of the perturbations.
            rate: `[b]`, the share of draws that each attempt fooled.
            number: of the attack.
            better: `[b]` bool, the attempts to store.
            among: `[b]` bool, the attempts of this kind, whose rates count.
        """
        taken = rows[better]
        self.x[taken], self.size[taken], self.by[taken] = x[better], size[better], number
        self.rate[rows[among]] = torch.maximum(self.rate[rows[among]], rate[among])


def write_ledger(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write the file of a ledger, complete or not at all.

    Args:
        path: of the file.
        tensors: by their names.
        header: everything else.

    Raises:
        StoreError: if it cannot be written.
    """
    save_tensors(path, tensors, asdict(header))


def read_ledger(path: Path, device: torch.device) -> tuple[dict[str, Tensor], Header]:
    """Tensors and header of the file of a ledger.

    Raises:
        CheckpointError: for a file that is missing, damaged, or no ledger.
    """
    tensors, header = load_tensors(path, device, _KIND)
    if header.get("kind") != _KIND:
        raise CheckpointError(f"{path} is a file of this library, but not a ledger")
    return tensors, convert_header(path, header, Header)


def check_form(path: Path, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """Refuse a file that lacks one of the tensors in `like`, or holds another shape or type.

    Args:
        path: of the file, for errors.
        tensors: that were read.
        like: tensors of the same images, by their names.

    Raises:
        CheckpointError: naming the tensor.
    """
    for name, blank in like.items():
        part = tensors.get(name)
        if part is None or (part.shape, part.dtype) != (blank.shape, blank.dtype):
            form = "missing" if part is None else f"{part.dtype} {list(part.shape)}"
            raise CheckpointError(
                f"{path} is no ledger of these images: {name} is {form}, expected {blank.dtype} "
                f"{list(blank.shape)}; delete it to start over"
            )
