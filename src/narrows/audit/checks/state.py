"""Whether the model is another one after it was used, in evaluation mode.

    theta after f(x)  =  theta before,    f(x) at the end of the audit  =  f(x) at its beginning

A model that learns from its inputs, counts its queries or remembers images is another one for each
attack and each order of images: no number describes it. Parameters, buffers and plain attributes
are put back after each attack; the clean images are looked at again at the end.

Source: Croce, Gowal, Brunner, Shelhamer, Hein & Cemgil (2022), arXiv 2202.13711.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["state"]

_NAMED = 5
_REMEDY = "freeze it in evaluation mode; a defence that adapts needs an attack that knows how"


def state(case: Case) -> Finding:
    """Fails where a pass changes a tensor of the model, or use changes its answers."""
    changed = [*case.drift, *case.memories]
    names = ", ".join(changed[:_NAMED])
    if case.check_memory():
        where = f"in {names}" if changed else "outside of its parameters, buffers and attributes"
        return Finding(
            "state",
            False,
            f"the model is stateful: with use its answers to the same images change; it remembers "
            f"{where}",
            _REMEDY,
        )
    if case.drift:
        evidence = f"the model is stateful: a pass in evaluation mode changes {len(changed)} values"
        return Finding("state", False, f"{evidence} ({names})", _REMEDY)
    if changed:
        evidence = (
            f"a pass changes {names}, and no answer; the clean images are classified as before"
        )
        return Finding("state", True, evidence)
    return Finding("state", True, "use changes nothing; the clean images are classified as before")
