"""What the numbers of a run do and do not say, in sentences that follow from them."""

from __future__ import annotations

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
    for method in trained_methods(run):
        sentences += _knee(run, method) + _saturation(run, method)
        if attacked(run):
            sentences += _weak_attack(run, method) + _beyond_chance(run, method)
    if attacked(run):
        sentences.append(
            "Accuracy under FGSM and PGD is an upper bound of robust accuracy: a stronger attack "
            "can only lower it. No attack here is gradient-free, so nothing on this page certifies "
            "a defence."
        )
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


def _knee(run: Run, method: str) -> list[str]:
    summary = run.summary[method]
    if len(summary.rows) < 3:
        return []
    if summary.knee.beta is None or summary.knee.interval is None:
        return [f"{method}: no clear knee ({summary.knee.why})."]
    low, high = summary.knee.interval
    spread = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return [
        f"{method}: the knee lies at beta = {summary.knee.beta:g} (bootstrap over seeds: {spread})."
    ]


def _saturation(run: Run, method: str) -> list[str]:
    bounds = [
        record.information["test"]["kde_upper"]
        for record in run.records([method])
        if record.has_latent
    ]
    saturated = [bound for bound in bounds if bound.diagnostics.get("saturated")]
    if not saturated:
        return []
    ceiling, n = saturated[0].ceiling or 0.0, saturated[0].n
    return [
        f"{method}: I(X;Z) of {len(saturated)} of {len(bounds)} models is within 5 % of its "
        f"ceiling log n = {ceiling:.2f} nats (n = {n}), so it reflects n more than the model."
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
        f"{method}: a single step (FGSM) does better than PGD at {'; '.join(places)}. That is a "
        "sign of misleading gradients, not of robustness."
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
