"""Training methods: `loss = VIB(beta=1e-3)(model, x, y)`."""

from narrows.methods._base import Method, Sizes
from narrows.methods.aib import AIB
from narrows.methods.cross_entropy import CrossEntropy
from narrows.methods.vib import VIB

__all__ = ["AIB", "METHODS", "VIB", "CrossEntropy", "Method", "Sizes"]

METHODS: dict[str, type[Method]] = {
    "cross_entropy": CrossEntropy,
    "vib": VIB,
    "aib": AIB,
}
