"""Attacks: `PGD(norm="linf", eps=0.1)(model, x, y) -> AttackResult`."""

from narrows.attacks._base import Attack, FixedEps, MinimalNorm
from narrows.attacks._query import Query
from narrows.attacks.deepfool import DeepFool
from narrows.attacks.fgsm import FGSM
from narrows.attacks.pgd import PGD

__all__ = ["ATTACKS", "FGSM", "PGD", "Attack", "DeepFool", "FixedEps", "MinimalNorm", "Query"]

ATTACKS: dict[str, type[Attack]] = {"fgsm": FGSM, "pgd": PGD, "deepfool": DeepFool}
