"""From the records of a run to the rows that tables and charts are made of."""

from __future__ import annotations

import math
from typing import Any

from narrows.errors import StoreError
from narrows.runs import Run
from narrows.runs.records import MemberRecord
from narrows.runs.summary import BetaSummary, Spread

__all__ = [
    "CHOSEN",
    "KNEE",
    "accuracy_against_beta",
    "accuracy_against_eps",
    "attacked",
    "choices",
    "knee_rows",
    "label_bits",
    "model_rows",
    "projection_rows",
    "summary_row",
    "trained_methods",
]

CHOSEN = "chosen on validation data"
KNEE = "knee of the IB curve"

_SPLITS = {"train": "training data", "test": "test data"}
_ATTACKS = ("fgsm", "pgd")
Row = dict[str, Any]


def trained_methods(run: Run) -> list[str]:
    """The methods of which a model is left."""
    return [method for method, summary in run.summary.items() if summary.rows]


def attacked(run: Run) -> bool:
    """Whether the data are images, and every model was attacked on them."""
    records = run.records()
    return bool(records) and all(record.attacks for record in records)


def summary_row(run: Run, method: str, beta: float) -> BetaSummary:
    """The summary of one beta of a method.

    Args:
        run: a complete one.
        method: of the run.
        beta: of the method.

    Raises:
        StoreError: if there is none.
    """
    for row in run.summary[method].rows:
        if row.beta == beta:
            return row
    raise StoreError(f"{run.path} has no {method} at beta = {beta!r}")


def choices(run: Run, method: str) -> dict[str, float]:
    """The betas that the report speaks of: chosen on validation data, and the knee."""
    summary = run.summary[method]
    both = {CHOSEN: summary.chosen_beta, KNEE: summary.knee.beta}
    return {name: beta for name, beta in both.items() if beta is not None}


def model_rows(run: Run) -> list[Row]:
    """Each model's place in the information plane, in bits."""
    return [
        {"method": record.method, "beta": record.beta, "seed": record.seed, "split": name}
        | _place(record, split)
        for record in run.records()
        if record.has_latent
        for split, name in _SPLITS.items()
    ]


def knee_rows(run: Run) -> list[Row]:
    """The knee of each method, on the mean curves."""
    rows = []
    for method in trained_methods(run):
        beta = run.summary[method].knee.beta
        if beta is None:
            continue
        for split, name in _SPLITS.items():
            rate, relevance = summary_row(run, method, beta).information_bits[split]
            place = {"rate": rate.mean, "relevance": relevance.mean}
            rows.append({"method": method, "beta": beta, "split": name, **place})
    return rows


def label_bits(run: Run) -> float:
    """H(Y) of the test inputs that information was measured on, in bits.

    Raises:
        StoreError: if no model of the run has a latent, beside which it is measured.
    """
    for record in run.records():
        estimate = record.information.get("test", {}).get("kde_relevance_upper")
        entropy = None if estimate is None else estimate.diagnostics.get("label_entropy")
        if isinstance(entropy, int | float):
            return entropy / math.log(2)
    raise StoreError(f"no model of {run.path} has a latent whose I(X;Z) was measured")


def accuracy_against_eps(run: Run) -> list[Row]:
    """Accuracy at every beta, eps = 0 being clean, and by what the beta was chosen, if it was.

    A method without a knee stands at its chosen beta where the others stand at their knee.
    """
    rows = []
    for method in trained_methods(run):
        betas = choices(run, method)
        for summary in run.summary[method].rows:
            chosen = [
                name for name in (CHOSEN, KNEE) if betas.get(name, betas[CHOSEN]) == summary.beta
            ]
            for attack in _ATTACKS:
                series = {"method": method, "beta": summary.beta, "choices": chosen}
                series["attack"] = attack
                rows.append(series | {"eps": 0.0} | _band(summary.accuracy["test"]))
                rows += [
                    series | {"eps": result.eps} | _band(result.accuracy)
                    for result in summary.attacks
                    if result.attack == attack and result.accuracy is not None
                ]
    return rows


def accuracy_against_beta(run: Run) -> list[Row]:
    """Accuracy at every beta of the methods that have several, clean and attacked."""
    rows = []
    for method in trained_methods(run):
        summaries = run.summary[method].rows
        if len(summaries) < 2:
            continue
        for summary in summaries:
            series = {"method": method, "beta": summary.beta}
            clean = _band(summary.accuracy["test"])
            rows.append(series | {"attack": "clean", "eps": None} | clean)
            rows += [
                series | {"attack": result.attack, "eps": result.eps} | _band(result.accuracy)
                for result in summary.attacks
                if result.eps is not None and result.accuracy is not None
            ]
    return rows


def projection_rows(run: Run, count: int = 300) -> list[Row]:
    """Points of the latent's projection for the first seed at every beta."""
    rows = []
    for method in trained_methods(run):
        pictures = run.pictures(method)
        betas = [summary.beta for summary in run.summary[method].rows]
        for rank, beta in enumerate(betas):
            if f"{beta!r}/projection" not in pictures:
                continue
            points = pictures[f"{beta!r}/projection"][:count].tolist()
            labels = pictures[f"{beta!r}/projection_label"][:count].tolist()
            series = {"method": method, "beta": beta, "rank": rank, "only": len(betas) == 1}
            rows += [
                series | {"x": round(x, 4), "y": round(y, 4), "label": label}
                for (x, y), label in zip(points, labels, strict=True)
            ]
    return rows


def _place(record: MemberRecord, split: str) -> Row:
    rate, relevance = (nats / math.log(2) for nats in record.curve_point(split))
    return {"rate": rate, "relevance": relevance}


def _band(spread: Spread) -> Row:
    std = spread.std or 0.0
    low, high = max(0.0, spread.mean - std), min(1.0, spread.mean + std)
    return {"mean": spread.mean, "low": low, "high": high}
