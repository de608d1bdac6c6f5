"""Images judged once more, on draws that have picked nothing.

The worst of several attacks on a stochastic model is picked by the draws that it was judged on, and
is flattered by them: of an image that one vote in five gets wrong, one of four votes is wrong more
often than not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks.entrance import enter
from narrows.attacks.losses import margin
from narrows.attacks.norms import exact
from narrows.attacks.query import Query, frozen
from narrows.types import AttackResult

__all__ = ["Judgement", "confirmed", "judge", "reproduces"]

_CHUNK = 512
_REJUDGED = 100  # draws of a stochastic model on which old verdicts are compared
_DRIFT = 0.3  # of the mean rate of fooled draws: more than the luck of those that were picked
_TIE = 1e-3  # lead of a class, of the spread of all logits, that rounding may turn
_DRAWS = 10  # times those of the vote that is judged once more


class Judgement(NamedTuple):
    """Verdicts on images `[n, ...]`.

    Attributes:
        fooled: `[n]` bool, by expected vote.
        fooled_rate: `[n]`, share of single draws.
        logits: `[n, C]`, averaged in probability.
        forwards: images that were sent forward.
        stochastic: whether the model is.
    """

    fooled: Tensor
    fooled_rate: Tensor
    logits: Tensor
    forwards: int
    stochastic: bool


def judge(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    targeted: bool = False,
    draws: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Judge `x: [n, ...]`, on `draws` of a stochastic model; the global generator is left as it is.

    Raises:
        InputError: for a model that cannot be judged on them.
    """
    devices = [x.device] if x.device.type == "cuda" else []
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices),
        frozen(model),
        torch.no_grad(),
    ):
        victim = enter(model, x)
        torch.manual_seed(seed)
        query = Query(
            model,
            labels,
            targeted=targeted,
            stochastic=victim.stochastic,
            verify_draws=draws,
            precision=victim.precision,
        )
        rows = torch.arange(len(x), device=x.device)
        images = x.to(exact(x.dtype), copy=True)
        parts = [query.verdict(images[part], part) for part in rows.split(_CHUNK)]
    return Judgement(
        torch.cat([part.fooled for part in parts]),
        torch.cat([part.fooled_rate for part in parts]),
        torch.cat([part.logits for part in parts]),
        query.forwards + victim.forwards,
        victim.stochastic,
    )


def confirmed(
    model: nn.Module,
    result: AttackResult,
    labels: Tensor,
    *,
    targeted: bool,
    verify_draws: int,
    seed: int,
) -> AttackResult:
    """The result without the successes that fresh draws, ten times as many, do not confirm.

    A success that all draws agree on, as every one of a deterministic model, costs no second look.
    """
    doubtful = (result.success & (result.fooled_rate < 1)).nonzero().squeeze(1)
    if not len(doubtful):
        return result
    again = judge(
        *(model, result.x_adv[doubtful], labels[doubtful]),
        targeted=targeted,
        draws=_DRAWS * verify_draws,
        seed=seed,
    )
    success, distance, rate = (
        part.clone() for part in (result.success, result.distance, result.fooled_rate)
    )
    success[doubtful] = again.fooled
    distance[doubtful[~again.fooled]] = torch.inf
    rate[doubtful] = again.fooled_rate
    return replace(
        result,
        success=success,
        distance=distance,
        fooled_rate=rate,
        forwards=result.forwards + again.forwards,
    )


def reproduces(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    fooled: Tensor,
    rate: Tensor,
    *,
    targeted: bool,
    noise_held: bool,
) -> bool:
    """Whether a model judges images as it once did, but for what rounding decides.

    Args:
        model: to be judged.
        x: `[n, ...]` images.
        labels: `[n]`, or the targets if `targeted`.
        fooled: `[n]` bool, the old verdicts.
        rate: `[n]`, the old shares of fooled draws, compared in the mean if it is stochastic.
        targeted: what `labels` are.
        noise_held: whether the noise of a stochastic model was seen to be the same under a seed,
            which says more than rates that are flattered by the draws that picked them.
    """
    again = judge(model, x, labels, targeted=targeted, draws=_REJUDGED)
    if again.stochastic:
        return noise_held or (rate.mean() - again.fooled_rate.mean()).abs().item() <= _DRIFT
    spread = again.logits.amax(1) - again.logits.amin(1)
    clear = margin(again.logits, labels).abs() > _TIE * spread
    return not ((again.fooled != fooled) & clear).any()
