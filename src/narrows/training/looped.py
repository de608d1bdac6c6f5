"""Many models trained in one loop, each by plain calls, where `Stacked` cannot vectorise them.

These are models with running statistics or mixed precision, and any module that `torch.func.vmap`
refuses. Each member is a `Solo` with its own optimiser, noise and order of the data, so its result
equals that of `Solo` bit for bit. Only layers that draw from torch's global generator differ, since
the members draw from it in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from narrows.training.members import Members, Solo, check_seeds, map_tensors
from narrows.training.objective import Objective
from narrows.training.state import check_tensors

__all__ = ["Looped"]


class Looped(Members):
    """Objectives of one architecture that are run one after another in each step.

    Args:
        objectives: their tensors have the same names and shapes.
        seeds: one seed each.
        device: where they are trained.

    Raises:
        ConfigError: for another number of seeds than of objectives, or none.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(seeds, torch.device(device))
        check_seeds(objectives, seeds)
        pairs = zip(objectives, seeds, strict=True)
        self._solos = [Solo(objective, seed, device) for objective, seed in pairs]
        self.generators = [solo.generators[0] for solo in self._solos]

    def parts(self) -> list[Members]:
        """Each member by itself."""
        return list(self._solos)

    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Run the stage for one member after another, and stack the results."""
        results = [
            solo.run(stage, *(args if shared else _rows(args, index)), shared=shared)
            for index, solo in enumerate(self._solos)
        ]
        if isinstance(results[0], dict):
            return {name: torch.cat([result[name] for result in results]) for name in results[0]}
        return torch.cat(results)

    def named_tensors(self) -> dict[str, Tensor]:
        """Copies of every member's parameters and buffers, stacked."""
        listed = [solo.named_tensors() for solo in self._solos]
        return {name: torch.cat([tensors[name] for tensors in listed]) for name in listed[0]}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy stacked values into the members; see `Members.load`."""
        check_tensors(self.named_tensors(), tensors)
        for index, solo in enumerate(self._solos):
            solo.load({name: tensor[index : index + 1] for name, tensor in tensors.items()})

    def member(self, index: int) -> Objective:
        """A copy of member `index`."""
        return self._solos[index].member(0)

    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """The parameters of one member after another."""
        return [p for solo in self._solos for p in solo.parameters(critic=critic)]


def _rows(args: Sequence[Any], index: int) -> tuple[Any, ...]:
    return tuple(map_tensors(lambda tensor: tensor[index : index + 1], arg) for arg in args)
