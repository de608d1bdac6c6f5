"""Training: one loop for a single model and for a whole sweep in one vectorised step."""

from narrows.training.fit import fit
from narrows.training.members import Members, Solo, accuracies
from narrows.training.objective import Objective
from narrows.training.recipe import TrainConfig
from narrows.training.stacked import Stacked
from narrows.training.trainer import EpochRecord, Trainer

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
