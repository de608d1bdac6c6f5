"""Train classifiers through an information bottleneck and find out what it is worth.

    from narrows import VIB, PGD, Bottleneck, as_classifier

The names below are loaded when they are first used: importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from narrows.attacks import (
        APGD,
        DDN,
        FAB,
        FGSM,
        NIFGSM,
        PGD,
        TGS,
        CarliniWagner,
        DeepFool,
        Ledger,
        MultiTargeted,
        Square,
    )
    from narrows.data import load
    from narrows.experiments.members import load_member
    from narrows.methods import (
        AIB,
        CEB,
        IBRAR,
        NIB,
        SFNN,
        VIB,
        BetaVAE,
        ConfidencePenalty,
        CrossEntropy,
        Dropout,
        GreedyIMB,
        HBaR,
        JointIMB,
        LabelSmoothing,
    )
    from narrows.methods.adversarial import MART, TRADES, PGDTraining
    from narrows.models import (
        BinaryStochasticNet,
        Bottleneck,
        as_classifier,
        insert_bottleneck,
        tap,
    )
    from narrows.types import AttackResult, Batch, Estimate, ModelOutput

__all__ = [
    "AIB",
    "APGD",
    "CEB",
    "DDN",
    "FAB",
    "FGSM",
    "IBRAR",
    "MART",
    "NIB",
    "NIFGSM",
    "PGD",
    "SFNN",
    "TGS",
    "TRADES",
    "VIB",
    "AttackResult",
    "Batch",
    "BetaVAE",
    "BinaryStochasticNet",
    "Bottleneck",
    "CarliniWagner",
    "ConfidencePenalty",
    "CrossEntropy",
    "DeepFool",
    "Dropout",
    "Estimate",
    "GreedyIMB",
    "HBaR",
    "JointIMB",
    "LabelSmoothing",
    "Ledger",
    "ModelOutput",
    "MultiTargeted",
    "PGDTraining",
    "Square",
    "as_classifier",
    "insert_bottleneck",
    "load",
    "load_member",
    "tap",
]

_ATTACKS = (
    "APGD",
    "DDN",
    "FAB",
    "FGSM",
    "NIFGSM",
    "PGD",
    "TGS",
    "CarliniWagner",
    "DeepFool",
    "Ledger",
    "MultiTargeted",
    "Square",
)
_METHODS = (
    "AIB",
    "CEB",
    "IBRAR",
    "NIB",
    "SFNN",
    "VIB",
    "BetaVAE",
    "ConfidencePenalty",
    "CrossEntropy",
    "Dropout",
    "GreedyIMB",
    "HBaR",
    "JointIMB",
    "LabelSmoothing",
)
_HOME = {
    **dict.fromkeys(_ATTACKS, "narrows.attacks"),
    "load": "narrows.data",
    "load_member": "narrows.experiments.members",
    **dict.fromkeys(_METHODS, "narrows.methods"),
    **dict.fromkeys(("MART", "TRADES", "PGDTraining"), "narrows.methods.adversarial"),
    **dict.fromkeys(
        ("BinaryStochasticNet", "Bottleneck", "as_classifier", "insert_bottleneck", "tap"),
        "narrows.models",
    ),
    **dict.fromkeys(("AttackResult", "Batch", "Estimate", "ModelOutput"), "narrows.types"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("narrows")
    if name not in _HOME:
        raise AttributeError(f"module 'narrows' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
