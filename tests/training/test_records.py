from dataclasses import replace

import pytest

from narrows.training import EpochRecord
from narrows.training.records import CheckpointHeader, Divergence

RECORD = EpochRecord(0, {"loss": [0.5, None]}, [0.9, None], [0, -1], 1.0)
HEADER = CheckpointHeader(1, "run", epoch=1, steps=3, history=[RECORD])


def test_a_header_of_these_members_and_epochs_fits():
    assert HEADER.fits(members=2, epochs=1)
    assert HEADER.fits(members=2, epochs=5)
    assert replace(HEADER, diverged=[(1, Divergence(0, 2, "nan"))]).fits(2, 1)
    assert replace(HEADER, epoch=0, history=[]).fits(2, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 2, "history": [RECORD, RECORD]},  # more epochs than there are
        {"epoch": -1, "history": []},
        {"steps": -1},
        {"history": []},
        {"history": [replace(RECORD, losses={"loss": [0.5]})]},
        {"history": [replace(RECORD, validation_accuracy=[0.9] * 3)]},
        {"history": [replace(RECORD, best_epoch=[0])]},
        {"diverged": [(2, Divergence(0, 2, "nan"))]},
        {"diverged": [(-1, Divergence(0, 2, "nan"))]},
    ],
)
def test_a_header_of_another_run_does_not_fit(changes):
    assert not replace(HEADER, **changes).fits(members=2, epochs=1)
