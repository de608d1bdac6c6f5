"""Re-evaluation of attacked images on independent draws of a stochastic model.

The worst of several attacks on a stochastic model is selected by the draws that it was judged on,
and looks stronger than it is. For example, if one vote in five on an image is wrong, then the worst
of four votes is wrong with probability 1 - .8^4 = .59.
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
from narrows.models.noise import forked_rng
from narrows.types import AttackResult

__all__ = ["Judgement", "confirmed", "judge", "reproduces"]

_CHUNK = 512
_REJUDGED = 100  # draws of a stochastic model on which recorded verdicts are tested
_DRIFT = 0.3  # change of the mean rate of fooled draws that the selection of draws may explain
_TIE = 1e-3  # lead of a class, as a share of the logits' spread, that rounding may reverse
_DRAWS = 10  # times as many draws as the vote that is to be confirmed


class Judgement(NamedTuple):
    """Verdicts on images `[n, ...]`.

    Attributes:
        fooled: `[n]` bool, by expected vote.
        fooled_rate: `[n]`, share of single draws.
        logits: `[n, C]`, averaged in probability.
        forwards: images that were sent forward.
        stochastic: whether the model is stochastic.
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
    """Judge images; the state of the global generator is restored afterwards.

    Args:
        model: any classifier.
        x: `[n, ...]` images.
        labels: `[n]`, or the targets if `targeted`.
        targeted: what `labels` are.
        draws: of a stochastic model's noise; a deterministic model takes one.
        seed: of the draws.

    Raises:
        InputError: for a model that cannot be run on the images.
    """
    with (
        torch.inference_mode(False),
        forked_rng(x.device),
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
    """The result without the successes that ten times as many fresh draws do not confirm.

    A success on which all draws agree, as they do for a deterministic model, is not judged again.

    Args:
        model: that was attacked.
        result: of the attack.
        labels: `[n]`, or the targets if `targeted`.
        targeted: what `labels` are.
        verify_draws: draws that the result was judged on.
        seed: of the fresh draws.
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
    """Whether a model gives its recorded verdicts on images again, but for rounding.

    Args:
        model: to be tested.
        x: `[n, ...]` images.
        labels: `[n]`, or the targets if `targeted`.
        fooled: `[n]` bool, the recorded verdicts.
        rate: `[n]`, the recorded shares of fooled draws; of a stochastic model their mean is
            compared.
        targeted: what `labels` are.
        noise_held: whether a stochastic model was seen to return the recorded logits under the
            recorded seed. That says more than rates, which are biased by the selection of draws.
    """
    again = judge(model, x, labels, targeted=targeted, draws=_REJUDGED)
    if again.stochastic:
        return noise_held or (rate.mean() - again.fooled_rate.mean()).abs().item() <= _DRIFT
    spread = again.logits.amax(1) - again.logits.amin(1)
    clear = margin(again.logits, labels).abs() > _TIE * spread
    return not ((again.fooled != fooled) & clear).any()
