import json
import math
from dataclasses import asdict

import msgspec
import pytest
import torch

from narrows.attacks._attempts import Entry
from narrows.attacks._robustbench import (
    ModelCard,
    Outcome,
    RobustBenchEntry,
    robustbench_entry,
    wilson,
)
from narrows.errors import InputError


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (3, 10), (50, 100), (999, 1000)])
def test_interval_solves_wilsons_equation(successes, count):
    # The ends are where the share is 1.96 standard errors of the end itself away.
    for end in wilson(successes, count):
        error = math.sqrt(end * (1 - end) / count)
        assert abs(end - successes / count) == pytest.approx(1.959963985 * error, abs=1e-9)
    assert wilson(successes, count)[0] <= successes / count <= wilson(successes, count)[1]


def outcome(distance: list[float]) -> Outcome:
    entry = Entry("pgd", "PGD(eps=0.1)", 4, 2, 0.5, 40, 20)
    return Outcome(
        eps=8 / 255,
        norm="linf",
        clean=0.75,
        robust=0.5,
        single_draw=0.25,
        distance=torch.tensor(distance),
        attacks=[entry],
    )


def test_accuracies_are_percentages_as_text_and_the_entry_is_json():
    entry = robustbench_entry("A", ModelCard.of(venue="ICLR"), outcome([0.1, 0.2, 0.3, math.inf]))
    plain = asdict(entry)
    assert msgspec.convert(json.loads(json.dumps(plain)), RobustBenchEntry) == entry
    assert (entry.clean_acc, entry.autoattack_acc) == ("75.00", "50.00")
    assert (entry.eps, entry.venue, entry.authors) == (str(8 / 255), "ICLR", "")
    low, high = wilson(2, 4)
    assert entry.interval_95 == (f"{100 * low:.2f}", f"{100 * high:.2f}")
    assert entry.median_distance == pytest.approx(0.2)
    assert entry.attacks[0].attacked == 4
    assert (entry.noise.vote_acc, entry.noise.single_draw_acc) == ("50.00", "25.00")
    assert "draws" not in plain


def test_a_median_that_is_infinite_is_null():
    assert robustbench_entry("A", ModelCard(), outcome([math.inf] * 4)).median_distance is None


def test_unknown_keys_are_named():
    with pytest.raises(InputError, match="unknown keys colour, size; valid: link, authors"):
        ModelCard.of(size=3, colour="red", venue="ICLR")
