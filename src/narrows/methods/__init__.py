"""Training methods: `loss = VIB(beta=1e-3)(model, x, y)`."""

from narrows.methods._base import Method, Sizes
from narrows.methods.aib import AIB
from narrows.methods.beta_vae import BetaVAE
from narrows.methods.ceb import CEB
from narrows.methods.confidence_penalty import ConfidencePenalty
from narrows.methods.cross_entropy import CrossEntropy
from narrows.methods.dropout import Dropout
from narrows.methods.greedy_imb import GreedyIMB
from narrows.methods.hbar import HBaR
from narrows.methods.ib_rar import IBRAR
from narrows.methods.jacobian_penalty import JacobianPenalty
from narrows.methods.joint_imb import JointIMB
from narrows.methods.label_smoothing import LabelSmoothing
from narrows.methods.nib import NIB
from narrows.methods.sfnn import SFNN
from narrows.methods.vib import VIB

__all__ = [
    "AIB",
    "CEB",
    "IBRAR",
    "METHODS",
    "NIB",
    "SFNN",
    "VIB",
    "BetaVAE",
    "ConfidencePenalty",
    "CrossEntropy",
    "Dropout",
    "GreedyIMB",
    "HBaR",
    "JacobianPenalty",
    "JointIMB",
    "LabelSmoothing",
    "Method",
    "Sizes",
]

METHODS: dict[str, type[Method]] = {
    "cross_entropy": CrossEntropy,
    "dropout": Dropout,
    "label_smoothing": LabelSmoothing,
    "confidence_penalty": ConfidencePenalty,
    "jacobian_penalty": JacobianPenalty,
    "vib": VIB,
    "ceb": CEB,
    "nib": NIB,
    "aib": AIB,
    "hbar": HBaR,
    "ib_rar": IBRAR,
    "sfnn": SFNN,
    "joint_imb": JointIMB,
    "greedy_imb": GreedyIMB,
}
