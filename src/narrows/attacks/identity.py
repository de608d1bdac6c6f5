"""The images, labels, weights and logits that a ledger belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks.entrance import first_pass, probes
from narrows.attacks.query import frozen
from narrows.models.noise import forked_rng

__all__ = ["Behaviour", "digest"]

_TOLERANCE = 1e-4  # change of a logit that other hardware may cause, as a share of their spread
_GRAINS = 8  # the same in units of the relative rounding error of the model's type


def digest(x: Tensor, y: Tensor, model: nn.Module | None, target: Tensor | None = None) -> str:
    """SHA-256 of images, labels, targets if there are any, and a model's structure and weights.

    Args:
        x: `[n, ...]` images.
        y: `[n]` labels.
        model: any module; `None` to leave it out.
        target: `[n]` classes to reach.
    """
    parts: dict[str, object] = {"x": x, "y": y.to(torch.int64)}
    if target is not None:
        parts["target"] = target.to(torch.int64)
    sha = hashlib.sha256(repr(model).encode())
    for name, value in {**parts, **(model.state_dict() if model else {})}.items():
        for text, content in _plain(name, value):
            sha.update(text.encode())
            sha.update(content)
    return sha.hexdigest()


def _plain(name: str, value: object) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of a tensor, or of those inside the extra state of a quantised layer."""
    if isinstance(value, (tuple, list)):
        for place, part in enumerate(value):
            yield from _plain(f"{name}.{place}", part)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _plain(f"{name}.{key}", part)
    elif not isinstance(value, Tensor):
        yield f"{name} {value!r}", b""
    elif value.is_quantized:
        yield from _plain(f"{name} {value.qscheme()}", value.dequantize())
    else:
        plain = value.detach().cpu().contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        yield f"{name} {value.dtype} {tuple(value.shape)}", content


class Behaviour(NamedTuple):
    """The logits of a model on a few of the images and perturbed copies, under one seed.

    Weights alone do not identify a model: its `forward` may use another temperature or
    quantisation with the same weights.

    Attributes:
        logits: `[k, C]`.
        forwards: images that were sent forward.
    """

    logits: Tensor
    forwards: int

    @classmethod
    def of(cls, model: nn.Module, x: Tensor) -> Behaviour:
        """Run a model, whose state is restored afterwards."""
        with _undisturbed(model, x):
            _, logits, passes = first_pass(model, x, probes(x))
        return cls(logits, passes * len(logits))

    def is_that_of(self, model: nn.Module, x: Tensor) -> bool | None:
        """Whether a model gives these logits; `None` if a seed does not fix its noise."""
        with _undisturbed(model, x):
            batch, logits, _ = first_pass(model, x, probes(x))
            _, again, _ = first_pass(model, batch, batch)
        before, now = (part.double().clamp(-1e30, 1e30) for part in (self.logits, logits))
        if before.shape != now.shape:
            return False
        spread = (before.max() - before.min()).item()
        tolerance = max(_TOLERANCE, _GRAINS * torch.finfo(logits.dtype).eps) * spread
        if (before - now).abs().max().item() <= tolerance:
            return True
        return False if torch.equal(logits, again) else None


@contextmanager
def _undisturbed(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Evaluation mode without gradients; generators, parameters and buffers are restored."""
    state = {k: part for k, part in model.state_dict().items() if isinstance(part, Tensor)}
    before = {name: part.clone() for name, part in state.items()}
    with (
        torch.inference_mode(False),
        forked_rng(x.device),
        frozen(model),
        torch.no_grad(),
    ):
        try:
            yield
        finally:
            for name, part in before.items():
                if not torch.equal(part, state[name]):
                    state[name].copy_(part)
