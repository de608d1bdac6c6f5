"""Adversarial training around any method: `TRADES(VIB(beta=1e-3), eps=0.1)` is itself a method."""

from narrows.methods.adversarial._base import Adversarial, Variant
from narrows.methods.adversarial.mart import MART
from narrows.methods.adversarial.pgd_training import PGDTraining
from narrows.methods.adversarial.trades import TRADES

__all__ = ["MART", "TRADES", "WRAPPERS", "Adversarial", "PGDTraining", "Variant"]

WRAPPERS: dict[str, type[Adversarial]] = {
    "pgd_training": PGDTraining,
    "trades": TRADES,
    "mart": MART,
}
