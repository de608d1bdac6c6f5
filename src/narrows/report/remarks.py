"""What the numbers of a run do and do not say, in sentences that follow from them."""

from __future__ import annotations

from narrows.experiments.summary import has_latent
from narrows.report.rows import Run

__all__ = ["remarks"]

_GRAY = 0.5


def remarks(run: Run) -> list[str]:
    """Sentences for the reader, each triggered by a number of this run."""
    found = []
    for method in run.summary:
        found += _knee(run, method) + _saturation(run, method)
        if run.attacked:
            found += _weak_attack(run, method) + _beyond_chance(run, method)
    if run.attacked:
        found.append(
            "Accuracy under FGSM and PGD is an upper bound of robust accuracy: a stronger attack "
            "can only lower it. No attack here is gradient-free, so nothing on this page certifies "
            "a defence."
        )
    return found


def _knee(run: Run, method: str) -> list[str]:
    knee = run.summary[method]["knee"]
    if len(run.summary[method]["rows"]) < 3:
        return []
    if knee["beta"] is None:
        return [f"{method}: no clear knee ({knee['why']})."]
    low, high = knee["interval"] or (knee["beta"], knee["beta"])
    spread = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return [f"{method}: the knee lies at beta = {knee['beta']:g} (bootstrap over seeds: {spread})."]


def _saturation(run: Run, method: str) -> list[str]:
    upper = [r["information"]["test"]["kde_upper"] for r in run.records[method] if has_latent(r)]
    full = [one for one in upper if one["diagnostics"]["saturated"]]
    if not full:
        return []
    return [
        f"{method}: I(X;Z) of {len(full)} of {len(upper)} models is within 5 % of its ceiling "
        f"log n = {full[0]['ceiling']:.2f} nats (n = {full[0]['n']}); it says more about n than "
        "about the model."
    ]


def _weak_attack(run: Run, method: str) -> list[str]:
    """One step beating many is the first sign of gradients that mislead."""
    worse = []
    for row in run.summary[method]["rows"]:
        means = {(a["attack"], a["eps"]): a["accuracy"]["mean"] for a in row["attacks"] if a["eps"]}
        worse += [
            f"beta {row['beta']:g}, eps {eps:g}"
            for (name, eps), value in means.items()
            if name == "fgsm" and value < means["pgd", eps] - 0.005
        ]
    if not worse:
        return []
    return [
        f"{method}: a single step (FGSM) does better than PGD at {'; '.join(worse)}. That is a "
        "sign of misleading gradients, not of robustness."
    ]


def _beyond_chance(run: Run, method: str) -> list[str]:
    chance = 1 / run.classes
    above = []
    for row in run.summary[method]["rows"]:
        above += [
            f"beta {row['beta']:g} ({a['accuracy']['mean']:.0%})"
            for a in row["attacks"]
            if a["attack"] == "pgd" and a["eps"] >= _GRAY and a["accuracy"]["mean"] > 2 * chance
        ]
    if not above:
        return []
    return [
        f"{method}: PGD at eps = 0.5 leaves more than chance for {'; '.join(above)}. Every image "
        "can be made uniformly gray at that radius, so the attack failed."
    ]
