"""Training: one loop for a single model and for a whole sweep in one vectorised step."""

from narrows.training.fit import EpochRecord, Trainer, accuracies, fit
from narrows.training.members import Members, Solo, Stacked
from narrows.training.objective import Objective
from narrows.training.recipe import TrainConfig

__all__ = [
    "EpochRecord",
    "Members",
    "Objective",
    "Solo",
    "Stacked",
    "TrainConfig",
    "Trainer",
    "accuracies",
    "fit",
]
