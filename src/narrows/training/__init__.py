"""Training: one loop for a single model, for a vectorised sweep, and for any other models."""

from narrows.training.config import TrainConfig
from narrows.training.fit import fit
from narrows.training.looped import Looped
from narrows.training.members import Members, Solo, accuracies
from narrows.training.objective import Objective
from narrows.training.processes import Processes, joined_processes
from narrows.training.published import PUBLISHED
from narrows.training.records import EpochRecord
from narrows.training.stacked import Stacked
from narrows.training.trainer import Trainer

__all__ = [
    "PUBLISHED",
    "EpochRecord",
    "Looped",
    "Members",
    "Objective",
    "Processes",
    "Solo",
    "Stacked",
    "TrainConfig",
    "Trainer",
    "accuracies",
    "fit",
    "joined_processes",
]
