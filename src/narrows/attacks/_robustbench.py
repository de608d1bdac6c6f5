"""A ledger as an entry in the form of RobustBench, extended by what noise means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from scipy.stats import binomtest
from torch import Tensor

from narrows.attacks._attempts import Entry
from narrows.errors import InputError
from narrows.storage import json_finite
from narrows.types import Norm

__all__ = ["ModelCard", "Noise", "Outcome", "RobustBenchEntry", "robustbench_entry", "wilson"]


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


@dataclass(frozen=True)
class Noise:
    """What the noise of a stochastic model means for an entry; accuracies as in the entry.

    Attributes:
        draws: for each gradient.
        verify_draws: on which success was decided.
        mode: whether a stochastic code was drawn or decoded at its mean.
        vote_acc: accuracy under the worst attack, by vote.
        single_draw_acc: the same of a single draw.
    """

    draws: int
    verify_draws: int
    mode: str
    vote_acc: str
    single_draw_acc: str


@dataclass(frozen=True)
class RobustBenchEntry:
    """A model in the form of RobustBench, whose accuracies are percentages as text.

    `dataclasses.asdict(entry)` is what `json.dumps` takes.

    Attributes:
        name: of the model; `link` to `footnote` are those of `ModelCard`.
        eps: radius at which the accuracies are counted, as text.
        clean_acc: accuracy without an attack.
        autoattack_acc: accuracy under the worst of `attacks`.
        norm: of the radius.
        images: number of images.
        median_distance: of the perturbations; `None` if fewer than half of the images were fooled.
        interval_95: of `autoattack_acc`, by Wilson's method.
        attacks: what was run.
        noise: what the noise of a stochastic model means.
    """

    name: str
    link: str
    authors: str
    venue: str
    architecture: str
    dataset: str
    reported: str
    additional_data: bool
    number_forward_passes: str
    unreliable: bool
    footnote: str
    eps: str
    clean_acc: str
    autoattack_acc: str
    norm: str
    images: int
    median_distance: float | None
    interval_95: tuple[str, str]
    attacks: list[Entry]
    noise: Noise


def robustbench_entry(name: str, card: ModelCard, outcome: Outcome) -> RobustBenchEntry:
    """The entry of a model; see `Ledger.to_robustbench`.

    Args:
        name: of the model.
        card: what is known besides.
        outcome: what the attacks have shown.
    """
    form = asdict(card)
    noise = Noise(
        **{key: form.pop(key) for key in ("draws", "verify_draws", "mode")},
        vote_acc=_percent(outcome.robust),
        single_draw_acc=_percent(outcome.single_draw),
    )
    count = len(outcome.distance)
    low, high = wilson(round(outcome.robust * count), count)
    return RobustBenchEntry(
        name=name,
        **form,
        eps=str(outcome.eps),
        clean_acc=_percent(outcome.clean),
        autoattack_acc=_percent(outcome.robust),
        norm=outcome.norm,
        images=count,
        median_distance=json_finite(outcome.distance.median().item()),
        interval_95=(_percent(low), _percent(high)),
        attacks=list(outcome.attacks),
        noise=noise,
    )


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share, of 95 %.

    Source: Wilson (1927), Journal of the American Statistical Association 22, p. 209.

    >>> low, high = wilson(0, 100)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
