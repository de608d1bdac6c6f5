"""What a reader must know before believing the numbers of a run; each sentence follows from one."""

from __future__ import annotations

import math

from narrows.models import NetworkConfig
from narrows.report.rows import attacked, trained_methods
from narrows.runs import Run

__all__ = ["remarks"]

_GRAY = 0.5  # the Linf radius within which every image can be made uniformly gray
_CLEAR = 0.005  # difference in accuracy that is worth a remark


def remarks(run: Run) -> list[str]:
    """Sentences for the reader, each triggered by a number of this run."""
    sentences = _networks(run)
    for method in run.config.methods:
        sentences += _lost(run, method)
    sentences += _saturation(run)
    if attacked(run):
        for method in trained_methods(run):
            sentences += _weak_attack(run, method) + _beyond_chance(run, method)
    return sentences


def _described(network: NetworkConfig) -> str:
    if network.is_own:
        return network.short().name
    return f"{network.name} {'-'.join(map(str, network.hidden)) or 'without hidden layers'}"


def _networks(run: Run) -> list[str]:
    """Which network each method had, where they differ."""
    described = {method: _described(network) for method, network in run.config.networks.items()}
    if len(set(described.values())) < 2:
        return []
    listed = "; ".join(f"{method}: {network}" for method, network in described.items())
    return [f"The methods have different networks, each the default of its kind. {listed}."]


def _lost(run: Run, method: str) -> list[str]:
    lost = run.lost(method)
    if not lost:
        return []
    share = f"{len(lost)} of {len(run.config.members(method))} models"
    return [f"{method}: {share} diverged and are in no result ({lost[0].error})."]


def _saturation(run: Run) -> list[str]:
    """How many models of each method have an estimate at the ceiling of the estimator."""
    counts, ceiling, n = [], 0.0, 0
    for method in trained_methods(run):
        bounds = [
            record.information["test"]["kde_upper"]
            for record in run.records([method])
            if record.has_latent
        ]
        saturated = [bound for bound in bounds if bound.diagnostics.get("saturated")]
        if saturated:
            counts.append(f"{len(saturated)} of {len(bounds)} of {method}")
            ceiling, n = (saturated[0].ceiling or 0.0) / math.log(2), saturated[0].n
    if not counts:
        return []
    return [
        f"The estimate of I(X;Z) from {n:,} inputs cannot exceed log2 {n:,} = {ceiling:.1f} bits, "
        f"and comes within 5 % of that for these models: {', '.join(counts)}. Their true I(X;Z) "
        "may be much larger."
    ]


def _weak_attack(run: Run, method: str) -> list[str]:
    """A single step that is stronger than many is the first sign of gradients that mislead."""
    places = []
    for summary in run.summary[method].rows:
        for step in summary.attacks:
            iterated = summary.attack("pgd", step.eps)
            if step.attack != "fgsm" or not (step.accuracy and iterated and iterated.accuracy):
                continue
            if step.accuracy.mean < iterated.accuracy.mean - _CLEAR:
                places.append(f"beta {summary.beta:g}, eps {step.eps:g}")
    if not places:
        return []
    return [
        f"{method}: a single step (FGSM) fools more images than PGD at {'; '.join(places)}. "
        "That is a sign of misleading gradients, not of robustness."
    ]


def _beyond_chance(run: Run, method: str) -> list[str]:
    chance = 1 / run.classes
    places = [
        f"beta {summary.beta:g}, eps {result.eps:g} ({result.accuracy.mean:.0%})"
        for summary in run.summary[method].rows
        for result in summary.attacks
        if result.attack == "pgd"
        and result.eps is not None
        and result.eps >= _GRAY
        and result.accuracy is not None
        and result.accuracy.mean > 2 * chance
    ]
    if not places:
        return []
    return [
        f"{method}: PGD leaves more than chance at {'; '.join(places)}. Within a radius of 0.5 "
        "every image can be made uniformly gray, so the attack failed."
    ]
