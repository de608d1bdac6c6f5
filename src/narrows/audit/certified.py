"""A lower bound of robust accuracy that no attack can ever get below, where it is cheap to have.

    min over the ball of  z_y - z_k  >=  min over the ball of  A . (x' - x) + c,   for each k != y

The margin is bounded by a linear function of the image: exactly for a linear model, and for
networks of affine layers and rectifiers with each rectifier between a line below and one above,

    alpha z <= max(z, 0) <= u (z - l) / (u - l)   for l < 0 < u,   alpha = 1 if u > -l else 0

going backward from the logits. The bounds l, u of each unit come from intervals that go forward,
and where network and layer are small from the same linear bounds again. With other monotone layers
there are intervals only. A model with anything else in it has no certificate, which does not mean
that it is not robust.

Source: Zhang et al. (2018), arXiv 1811.00866 (CROWN); Gowal et al. (2018), arXiv 1810.12715
(intervals). Deviation: the backward pass is autograd's own, with the lines in the place of the
rectifier's derivative; c follows from the values at x, so that no layer need be known.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.attacks.norms import rise_left
from narrows.audit._base import Case
from narrows.audit._door import nearby
from narrows.audit._intervals import UnboundedError, interval_logits
from narrows.audit._lines import Layer, Lines, StopError
from narrows.models.outputs import logits_of
from narrows.types import Norm

__all__ = ["Certificate", "certify"]

_REFINED = 512  # units of a layer whose bounds are computed one by one
_DEEPEST = 6  # rectifiers of a network in which that is done
_BLOCK = 256  # images at once
_SLACK = 1e-4  # of the logits' spread, for rounding


@dataclass(frozen=True)
class Certificate:
    """What is certain.

    Attributes:
        safe: `[n]` bool, the images at which nothing within the radius changes the class.
        method: `"exact"`, `"linear bounds"` or `"intervals"`.
    """

    safe: Tensor
    method: str

    @property
    def accuracy(self) -> float:
        """Share of the images that are certain."""
        return self.safe.double().mean().item()


def certify(case: Case) -> Certificate | None:
    """Bound the margin of each image from below; None for a model that this cannot be done for.

    Args:
        case: whose model must answer each image alone, the same each time, in float32 or better.
    """
    if case.stochastic or case.batch or case.stateful or case.left_out:
        return None
    try:
        with case.quiet():
            parts = [
                _certify(case, rows)
                for rows in torch.arange(len(case.x), device=case.x.device).split(_BLOCK)
            ]
            safe = torch.cat([part.safe for part in parts])
            if (safe & case.ledger.fooled).any():
                raise UnboundedError("an image was fooled that the bounds called safe")
    except UnboundedError as error:
        logging.getLogger(__name__).info("no certificate: %s", error)
        return None
    return Certificate(safe, parts[0].method)


def _certify(case: Case, rows: Tensor) -> Certificate:
    x, y = case.x[rows], case.y[rows]
    low, high = (x - case.eps).clamp_min(0), (x + case.eps).clamp_max(1)
    logits, layers, straight = interval_logits(case.model, low, high)
    slack = _SLACK * case.logits.std().item()
    if straight:
        ball = _Ball(x, low, high, case.norm, case.eps)
        with torch.enable_grad():
            _refine(case.model, ball, layers)
            margins = _margins(case.model, ball, layers, y)
        method = "linear bounds" if layers or case.norm == "l2" else "exact"
    else:
        least = logits.low.gather(1, y[:, None])
        margins = least - logits.high.scatter(1, y[:, None], -torch.inf)
        method = "intervals"
    _try_out(case, rows, margins - slack)
    return Certificate((margins > slack).all(1) & case.clean[rows], method)


def _try_out(case: Case, rows: Tensor, margins: Tensor) -> None:
    """Refuse bounds that the model breaks: its backward pass or its code may not be what it seems.

    Args:
        case: whose worst attempts, and random corners, the bounds must hold for.
        rows: `[n]`, the images.
        margins: `[n, C]`, what each lead of the label is to exceed.
    """
    x, y = case.x[rows], case.y[rows]
    for points in (x, case.ledger.x_adv[rows], *nearby(x, case.norm, case.eps, case.seed)):
        logits = case.subject(points)
        leads = logits.gather(1, y[:, None]) - logits
        if (leads < margins.masked_fill(margins == torch.inf, -torch.inf)).any():
            raise UnboundedError("the model goes below its own bounds")


@dataclass(frozen=True)
class _Ball:
    """Images `x: [n, ...]`, the box around them, and the radius."""

    x: Tensor
    low: Tensor
    high: Tensor
    norm: Norm
    radius: float

    def least(self, slope: Tensor) -> Tensor:
        """Smallest value of `slope . (x' - x)`, at least: `[n]`."""
        ends = torch.minimum(slope * (self.low - self.x), slope * (self.high - self.x))
        in_box = ends.flatten(1).sum(1)
        if self.norm == "linf":
            return in_box
        if self.norm in ("l1", "l0"):
            fall = rise_left(-slope, self.x, self.x, self.norm, self.radius)
            return torch.maximum(in_box, -fall)
        return torch.maximum(in_box, -self.radius * slope.flatten(1).norm(dim=1))


def _margins(model: nn.Module, ball: _Ball, layers: list[Layer], y: Tensor) -> Tensor:
    """Lower bounds `[n, C]` of the lead of the label over each class, infinite for itself."""
    at = ball.x.clone().requires_grad_()
    with Lines(layers) as lines:
        logits = logits_of(model, at)
    if not torch.allclose(logits, logits_of(model, ball.x), rtol=1e-3, atol=1e-4):
        raise UnboundedError("lines in the place of rectifiers change what the model says")
    columns = []
    for k in range(logits.shape[1]):
        lead = logits.gather(1, y[:, None]).squeeze(1) - logits[:, k]
        columns.append(_least(lead, at, ball, lines).masked_fill(y == k, torch.inf))
    return torch.stack(columns, 1)


def _least(value: Tensor, at: Tensor, ball: _Ball, lines: Lines) -> Tensor:
    """Lower bound `[n]` of what `value: [n]` can be anywhere in the ball."""
    lines.forget()
    (slope,) = torch.autograd.grad(value.sum(), at, retain_graph=True, materialize_grads=True)
    return ball.least(slope) + value.detach() - lines.correction


def _refine(model: nn.Module, ball: _Ball, layers: list[Layer]) -> None:
    """Replace the intervals of small layers by linear bounds where those are tighter."""
    if len(layers) > _DEEPEST:
        return
    for number, layer in enumerate(layers):
        if layer.low[0].numel() > _REFINED:
            continue
        at, lines = ball.x.clone().requires_grad_(), Lines(layers, stop=number)
        try:
            with lines:
                logits_of(model, at)
        except StopError as stop:
            units = stop.value.flatten(1)
        else:
            return
        low = torch.stack([_least(unit, at, ball, lines) for unit in units.unbind(1)], 1)
        high = torch.stack([-_least(-unit, at, ball, lines) for unit in units.unbind(1)], 1)
        layers[number] = Layer(
            torch.maximum(layer.low, low.view_as(layer.low)),
            torch.minimum(layer.high, high.view_as(layer.high)),
        )
