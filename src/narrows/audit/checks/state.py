"""Whether parameters or buffers change while the model is used, in evaluation mode.

    theta after f(x)  =  theta before

A model that learns from its inputs is another one for each attack and each order of images: no
number describes it.

Source: Croce, Gowal, Brunner, Shelhamer, Hein & Cemgil (2022), arXiv 2202.13711.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["state"]


def state(case: Case) -> Finding:
    """Fails where a pass in evaluation mode changes anything; the audit puts it back each time."""
    if not case.drift:
        return Finding("state", True, "a pass in evaluation mode changes nothing")
    shown = ", ".join(case.drift[:5])
    return Finding(
        "state",
        False,
        f"a pass in evaluation mode changes {len(case.drift)} tensors ({shown})",
        "freeze them in evaluation mode; a defence that adapts needs an attack that knows how",
    )
