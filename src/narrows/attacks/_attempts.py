"""What a ledger keeps: its attacks, and one attempt at each of `n` images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["Attempts", "Entry"]


@dataclass(frozen=True)
class Entry:
    """One attack of a ledger.

    Attributes:
        name: what the ledger calls it.
        attack: its `repr`: the same attack is not run twice.
        attacked: images that it was shown.
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


@dataclass
class Attempts:
    """The worst attempts of one kind.

    Attributes:
        x: `[n, ...]`, the images that were made.
        size: `[n]`, of the perturbations; inf where there is none.
        by: `[n]`, number of the attack; -1 where there is none.
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
        """Take those of the attempts `x: [b, ...]` at images `rows: [b]` that are `better: [b]`.

        `among: [b]` says which of them are of this kind at all, and have a say in the rate.
        """
        taken = rows[better]
        self.x[taken], self.size[taken], self.by[taken] = x[better], size[better], number
        self.rate[rows[among]] = torch.maximum(self.rate[rows[among]], rate[among])
