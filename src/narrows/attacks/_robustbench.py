"""A ledger as a JSON entry in the form of RobustBench, extended by what noise means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor

from narrows.attacks._attempts import Entry
from narrows.errors import InputError
from narrows.storage import json_finite
from narrows.types import Norm

__all__ = ["Json", "ModelCard", "Outcome", "robustbench_entry", "wilson"]

Json = dict[str, Any]
"""An object that `json.dumps` takes."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model besides its ledger, as RobustBench asks for it.

    Attributes:
        link: of the paper.
        authors: of the paper.
        venue: where it was published.
        architecture: of the model.
        dataset: of the images.
        reported: the robust accuracy that the authors report.
        additional_data: whether the model was trained on more than the training set.
        number_forward_passes: of one prediction, as text.
        unreliable: whether the evaluation should not be trusted.
        footnote: anything else.
        draws: of a stochastic model's noise, for each gradient. This and the next two extend the
            form.
        verify_draws: on which success was decided.
        mode: whether a stochastic code was drawn, `"sample"`, or decoded at its mean, `"mean"`.
    """

    link: str = ""
    authors: str = ""
    venue: str = ""
    architecture: str = ""
    dataset: str = ""
    reported: str = ""
    additional_data: bool = False
    number_forward_passes: str = "1"
    unreliable: bool = False
    footnote: str = ""
    draws: int = 1
    verify_draws: int = 1
    mode: str = "mean"

    @classmethod
    def of(cls, **known: Any) -> ModelCard:
        """The card with what is known; the rest keeps its default.

        Raises:
            InputError: naming keys that the form does not have.
        """
        valid = [field.name for field in fields(cls)]
        if unknown := sorted(set(known) - set(valid)):
            raise InputError(f"unknown keys {', '.join(unknown)}; valid: {', '.join(valid)}")
        return cls(**known)


@dataclass(frozen=True)
class Outcome:
    """The numbers of a ledger that an entry shows; accuracies are shares.

    Attributes:
        eps: radius at which the accuracies are counted.
        norm: of the radius.
        clean: accuracy without an attack.
        robust: accuracy under the worst attack on each image, by vote.
        single_draw: the same of a single draw of a stochastic model.
        distance: `[n]`, size of the smallest perturbation that fooled each image.
        attacks: what was run.
    """

    eps: float
    norm: Norm
    clean: float
    robust: float
    single_draw: float
    distance: Tensor
    attacks: Sequence[Entry]


def robustbench_entry(name: str, card: ModelCard, outcome: Outcome) -> Json:
    """The JSON entry of a model; see `Ledger.to_robustbench`.

    Args:
        name: of the model.
        card: what is known besides.
        outcome: what the attacks have shown.
    """
    form = asdict(card)
    noise = {key: form.pop(key) for key in ("draws", "verify_draws", "mode")}
    count = len(outcome.distance)
    return {
        "name": name,
        **form,
        "eps": str(outcome.eps),
        "clean_acc": _percent(outcome.clean),
        "autoattack_acc": _percent(outcome.robust),
        "norm": outcome.norm,
        "images": count,
        "median_distance": json_finite(outcome.distance.median().item()),
        "interval_95": [_percent(bound) for bound in wilson(round(outcome.robust * count), count)],
        "attacks": [asdict(entry) for entry in outcome.attacks],
        "noise": {
            **noise,
            "vote_acc": _percent(outcome.robust),
            "single_draw_acc": _percent(outcome.single_draw),
        },
    }


def wilson(successes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share, of 95 % by default.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Source: Wilson (1927), Journal of the American Statistical Association 22, p. 209.

    Args:
        successes: out of `count`.
        count: number of trials, at least 1.
        z: quantile of the normal distribution.

    >>> low, high = wilson(0, 100)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    share = successes / count
    centre = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z**2 / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
