"""The audited model as the audit asks it: in float32 or better, one row an image, never NaN.

| the model                                      | what the audit sees                             |
|------------------------------------------------|-------------------------------------------------|
| computes or answers in half precision          | images and logits in float32                    |
| returns -inf, a probability of zero            | a logit 104 below the lowest one that is finite |
| returns NaN or +inf at a perturbed image       | the class of the image nearest to it, for sure  |
| depends on the other images of the batch       | each image beside the same companions           |
| cannot be run where a gradient is asked for    | logits without a graph                          |
| raises an error or ends the program            | an `InputError` of one line                     |

A perturbed image at which the model returns no number is never counted as fooled, so that no
accusation rests on it; `undefined` says at which images that happened, and `impossible` where a
probability was exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import InputError, NarrowsError
from narrows.models.bottleneck import draw_logits
from narrows.models.outputs import logits_of

__all__ = ["Subject", "defined", "held", "unwrapped"]

_BELOW = 104.0  # exp(-104) is zero in float32
_SURE = 1e6


class Subject(nn.Module):
    """A classifier whose answers can be relied on to be numbers.

    Args:
        model: any classifier. It is not a submodule, so that an attack leaves its mode alone.
        dtype: of the images that it takes.
        images: `[n, ...]`, the audited ones.
        labels: `[n]`, their classes.
        companions: `[k, ...]` images that each image is shown with, for a model that depends on
            the rest of the batch; none otherwise.
        doubled: whether a single image is shown twice, to a model that takes no batch of one.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        images: Tensor,
        labels: Tensor,
        companions: Tensor | None = None,
        doubled: bool = False,
    ) -> None:
        super().__init__()
        self._model = (model,)
        self.takes = dtype
        self._images, self._labels = images, labels
        self.companions = companions
        self.doubled = doubled
        self.impossible = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self.undefined = torch.zeros(len(images), dtype=torch.bool, device=images.device)

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self._model[0]

    def around(self, model: nn.Module, dtype: torch.dtype) -> Subject:
        """The same for another model, such as a copy in double precision."""
        return Subject(model, dtype, self._images, self._labels, self.companions, self.doubled)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, classes]` of images `x: [n, ...]`."""
        return self._filled(self.raw(x), x)

    def draw_logits(self, x: Tensor, count: int) -> Tensor:
        """Logits `[count, n, classes]` of `count` passes."""
        return self._filled(self._ask(x, lambda x: draw_logits(self.model, x, count)), x)

    def raw(self, x: Tensor) -> Tensor:
        """Logits in float32 at least, whatever they are."""
        return self._ask(x, lambda x: logits_of(self.model, x))

    def _ask(self, x: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        if self.companions is None and self.doubled and len(x) == 1:
            return self._answer(torch.cat([x, x]), look)[..., :1, :]
        if self.companions is None:
            return self._answer(x, look)
        rows = [
            self._answer(torch.cat([row.unsqueeze(0), self.companions.to(x)]), look)[..., :1, :]
            for row in x.unbind()
        ]
        return torch.cat(rows, -2)

    def _answer(self, x: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        shown = x.to(self.takes)
        try:
            logits = _with_or_without_graph(look, shown)
        except NarrowsError:
            raise
        except SystemExit as error:
            raise InputError(
                f"the model ended the program (sys.exit({error.code!r})) on images "
                f"{list(x.shape)}; let it raise an error or return logits"
            ) from error
        except Exception as error:  # whatever a third-party model raises
            text = " ".join(str(error).split())
            raise InputError(
                f"the model cannot be run on images {list(x.shape)} of {shown.dtype} on "
                f"{x.device} ({type(error).__name__}: {text}); bring both to one device, dtype "
                "and shape, or fix the model"
            ) from error
        if not logits.is_floating_point():
            return logits  # which the check of the input refuses
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _filled(self, logits: Tensor, x: Tensor) -> Tensor:
        """Replace what is not a number: `logits: [..., n, classes]` of `x: [n, ...]`."""
        if torch.isfinite(logits.sum()):  # one sum is the cheapest look
            return logits
        finite = torch.isfinite(logits)
        lowest = logits.detach().where(finite, torch.inf).amin(-1, keepdim=True)
        bad = ~defined(logits)
        logits = torch.where(logits == -torch.inf, lowest - _BELOW, logits)
        zero = ~finite.all(-1) & ~bad
        if zero.any():
            self.impossible[self._nearest(x, zero)[1]] = True
        if not bad.any():
            return logits
        rows, nearest = self._nearest(x, bad)
        self.undefined[nearest] = True
        sure = torch.zeros(len(x), logits.shape[-1], dtype=logits.dtype, device=x.device)
        sure[rows, self._labels[nearest]] = _SURE
        return torch.where(bad.unsqueeze(-1), sure, logits)

    def _nearest(self, x: Tensor, marked: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of `x: [n, ...]` that `marked: [..., n]` has anywhere, and their nearest images."""
        rows = marked.reshape(-1, len(x)).any(0).nonzero().squeeze(1)
        apart = torch.cdist(x[rows].detach().flatten(1).float(), self._images.flatten(1).float())
        return rows, apart.argmin(1)


def defined(logits: Tensor) -> Tensor:
    """Whether each row says a class: no NaN, no +inf, and something that is finite.

    >>> defined(torch.tensor([[0.0, -torch.inf], [0.0, torch.nan], [-torch.inf, -torch.inf]]))
    tensor([ True, False, False])
    """
    bad = (logits.isnan() | (logits == torch.inf)).any(-1)
    return ~bad & torch.isfinite(logits).any(-1)


def _with_or_without_graph(look: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    try:
        return look(x)
    except RuntimeError as error:  # of NumPy, and of what is changed in place
        if "requires grad" not in str(error):
            raise
        with torch.no_grad():
            return look(x.detach())


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` has wrapped: compiled code is made anew for each batch size.

    >>> layer = nn.Linear(2, 2)
    >>> unwrapped(torch.compile(layer, backend="eager")) is layer
    True
    """
    original: Any = getattr(model, "_orig_mod", model)
    return original if isinstance(original, nn.Module) else model


@contextmanager
def held(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode without parameter gradients; leave it as it was found.

    Exported and frozen modules have one mode and refuse to change it; they stay in it.
    """
    modules = [module for module in model.modules() if hasattr(module, "training")]
    modes = [(module, module.training) for module in modules]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        try:
            model.eval()
        except Exception:  # of an exported module: NotImplementedError
            for module, _ in modes:
                module.training = False
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in flags:
            parameter.requires_grad_(requires_grad)
