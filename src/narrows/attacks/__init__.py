"""Attacks: `PGD(norm="linf", eps=0.1)(model, x, y) -> AttackResult`."""

from narrows.attacks._base import Attack, FixedEps, MinimalNorm
from narrows.attacks.fgsm import FGSM

__all__ = ["ATTACKS", "FGSM", "Attack", "FixedEps", "MinimalNorm"]

ATTACKS: dict[str, type[Attack]] = {"fgsm": FGSM}
