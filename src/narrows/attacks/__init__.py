"""Attacks: `PGD(norm="linf", eps=0.1)(model, x, y) -> AttackResult`; `ATTACKS` has all of them."""

from narrows.attacks._base import Attack, FixedEps, MinimalNorm
from narrows.attacks._targets import target_classes
from narrows.attacks.adaptive import Adaptive, Features, Heads, Rate, TrainingLoss
from narrows.attacks.apgd import APGD
from narrows.attacks.backend import (
    Backend,
    from_art,
    from_autoattack,
    from_foolbox,
    from_torchattacks,
)
from narrows.attacks.boundary_attack import BoundaryAttack
from narrows.attacks.carlini_wagner import CarliniWagner
from narrows.attacks.ddn import DDN
from narrows.attacks.deepfool import DeepFool
from narrows.attacks.ensemble import Ensemble, reevaluation, standard
from narrows.attacks.fab import FAB
from narrows.attacks.fgsm import FGSM
from narrows.attacks.hop_skip_jump import HopSkipJump
from narrows.attacks.ledger import Ledger
from narrows.attacks.many import attack_each, attack_many
from narrows.attacks.minimal_eps import MinimalEps, accuracy_curve
from narrows.attacks.multi_targeted import MultiTargeted
from narrows.attacks.nifgsm import NIFGSM
from narrows.attacks.pgd import PGD
from narrows.attacks.query import Query
from narrows.attacks.sparse_rs import SparseRS
from narrows.attacks.square import Square
from narrows.attacks.tgs import TGS

__all__ = [
    "APGD",
    "ATTACKS",
    "DDN",
    "FAB",
    "FGSM",
    "NIFGSM",
    "PGD",
    "TGS",
    "Adaptive",
    "Attack",
    "Backend",
    "BoundaryAttack",
    "CarliniWagner",
    "DeepFool",
    "Ensemble",
    "Features",
    "FixedEps",
    "Heads",
    "HopSkipJump",
    "Ledger",
    "MinimalEps",
    "MinimalNorm",
    "MultiTargeted",
    "Query",
    "Rate",
    "SparseRS",
    "Square",
    "TrainingLoss",
    "accuracy_curve",
    "attack_each",
    "attack_many",
    "from_art",
    "from_autoattack",
    "from_foolbox",
    "from_torchattacks",
    "reevaluation",
    "standard",
    "target_classes",
]

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "tgs": TGS,
    "pgd": PGD,
    "nifgsm": NIFGSM,
    "apgd": APGD,
    "multi_targeted": MultiTargeted,
    "square": Square,
    "sparse_rs": SparseRS,
    "boundary_attack": BoundaryAttack,
    "hop_skip_jump": HopSkipJump,
    "deepfool": DeepFool,
    "backend": Backend,
    "adaptive": Adaptive,
    "fab": FAB,
    "ddn": DDN,
    "carlini_wagner": CarliniWagner,
}
