"""What a run has shown, in plain sentences: which beta and why, and what may be claimed."""

from __future__ import annotations

from narrows.experiments.auditing import AuditRecord, read_audit
from narrows.report.rows import attacked, choices, summary_row, trained_methods
from narrows.runs import Run
from narrows.runs.summary import BetaSummary, Spread

__all__ = ["audits_of", "conclusions", "spread_in_percent"]

_PLAIN = "cross_entropy"


def conclusions(run: Run) -> list[str]:
    """Sentences in the order in which a reader asks for them.

    Args:
        run: a complete one.
    """
    sentences = [_betas(run, method) for method in trained_methods(run)]
    if not attacked(run):
        return sentences
    sentences.append(_under_attack(run))
    audits = audits_of(run)
    sentences += [_audited(audit) for audit in audits]
    return [*sentences, _claim(run, audited=bool(audits))]


def audits_of(run: Run) -> list[AuditRecord]:
    """The audits in the run's own folder `audits` that are of its models."""
    audits = [read_audit(path.parent) for path in sorted(run.path.glob("audits/*/record.json"))]
    identity = run.config.identity()
    return [audit for audit in audits if audit.request.run == identity and audit.request.member]


def spread_in_percent(spread: Spread) -> str:
    """Mean and standard deviation of a share.

    >>> spread_in_percent(Spread(0.5, 0.25))
    '50.0 ± 25.0 %'
    """
    std = "" if spread.std is None else f" ± {100 * spread.std:.1f}"
    return f"{100 * spread.mean:.1f}{std} %"


def _betas(run: Run, method: str) -> str:
    """Which betas were chosen, by what, and what they cost."""
    rows, knee = run.summary[method].rows, run.summary[method].knee
    chosen, *others = dict.fromkeys(choices(run, method).values())
    at_chosen = summary_row(run, method, chosen)
    if len(rows) == 1:
        named = f"{method} (beta = {chosen:g})" if chosen else method
        return f"{named} classifies {_clean(at_chosen)} of the test inputs correctly."
    text = (
        f"{method}: beta = {chosen:g} has the highest validation accuracy. There "
        f"{_clean(at_chosen)} of the test inputs are classified correctly{_code(at_chosen)}."
    )
    if knee.interval is None:
        return f"{text} Its IB curve has no clear knee: {knee.why}."
    low, high = knee.interval
    seeds = "" if low == high else f" (from {low:g} to {high:g}, depending on the seeds)"
    if not others:
        return f"{text} The knee of its IB curve lies there too{seeds}."
    at_knee = summary_row(run, method, others[0])
    return (
        f"{text} The knee of its IB curve lies at beta = {others[0]:g}{seeds}, with "
        f"{_clean(at_knee)}{_code(at_knee)}."
    )


def _clean(summary: BetaSummary) -> str:
    return spread_in_percent(summary.accuracy["test"])


def _code(summary: BetaSummary) -> str:
    if "test" not in summary.information_bits:
        return ""
    rate, _ = summary.information_bits["test"]
    return f" from a code with I(X;Z) = {rate.mean:.1f} bits"


def _under_attack(run: Run) -> str:
    """What PGD leaves of each method, and whether that is more than without a bottleneck."""
    eps = run.config.evaluate.middle_eps
    left = {}
    for method in trained_methods(run):
        beta = next(iter(choices(run, method).values()))
        result = summary_row(run, method, beta).attack("pgd", eps)
        if result is not None and result.accuracy is not None:
            left[method] = result.accuracy
    listed = ", ".join(f"{method} {spread_in_percent(spread)}" for method, spread in left.items())
    text = (
        f"Accuracy under PGD at eps = {eps:g} (Linf), at the beta with the highest validation "
        f"accuracy: {listed}."
    )
    plain = left.get(_PLAIN)
    if plain is None or len(left) == 1:
        return text
    return f"{text} {_compared(left, plain)}"


def _compared(left: dict[str, Spread], plain: Spread) -> str:
    better = [
        f"{method} by {100 * (spread.mean - plain.mean):.1f} points"
        for method, spread in left.items()
        if spread.mean - plain.mean > (spread.std or 0.0) + (plain.std or 0.0)
    ]
    if not better:
        return f"No method exceeds {_PLAIN} by more than both standard deviations over seeds."
    return f"More than {_PLAIN}, by more than both standard deviations: {', '.join(better)}."


def _audited(audit: AuditRecord) -> str:
    request, verdict = audit.request, audit.verdict
    return (
        f"The audit of {request.member} left {verdict.reached:.1%} ({verdict.low:.1%} to "
        f"{verdict.high:.1%}) on {verdict.images} images at eps = {request.eps:g} "
        f"({request.norm.capitalize()}): {verdict.outcome}."
    )


def _claim(run: Run, audited: bool) -> str:
    """What may be claimed after all this."""
    text = (
        "FGSM and PGD give upper bounds of the robust accuracy, because a stronger attack can "
        "only lower them, and neither of the two notices a gradient that misleads it."
    )
    if audited:
        return f"{text} Of the models that no audit has tested, no robustness may be claimed."
    method = trained_methods(run)[-1]
    return (
        f"{text} So no robustness may be claimed yet. An audit finds out what may: narrows audit "
        f"{run.path.name} --method {method} --eps {run.config.evaluate.middle_eps:g}"
    )
