"""Training methods: `loss = VIB(beta=1e-3)(model, x, y)`."""

from narrows.methods._base import Method, Sizes
from narrows.methods.aib import AIB
from narrows.methods.ceb import CEB
from narrows.methods.confidence_penalty import ConfidencePenalty
from narrows.methods.cross_entropy import CrossEntropy
from narrows.methods.dropout import Dropout
from narrows.methods.hbar import HBaR
from narrows.methods.ib_rar import IBRAR
from narrows.methods.label_smoothing import LabelSmoothing
from narrows.methods.nib import NIB
from narrows.methods.vib import VIB

__all__ = [
    "AIB",
    "CEB",
    "IBRAR",
    "METHODS",
    "NIB",
    "VIB",
    "ConfidencePenalty",
    "CrossEntropy",
    "Dropout",
    "HBaR",
    "LabelSmoothing",
    "Method",
    "Sizes",
]

METHODS: dict[str, type[Method]] = {
    "cross_entropy": CrossEntropy,
    "dropout": Dropout,
    "label_smoothing": LabelSmoothing,
    "confidence_penalty": ConfidencePenalty,
    "vib": VIB,
    "ceb": CEB,
    "nib": NIB,
    "aib": AIB,
    "hbar": HBaR,
    "ib_rar": IBRAR,
}
