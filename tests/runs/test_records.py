import math

import numpy as np
import pytest

from narrows.errors import ConfigError, StoreError
from narrows.runs import Member, MemberRecord
from narrows.runs.files import read_json, write_json
from narrows.runs.records import (
    Accuracy,
    AttackRecord,
    EstimateRecord,
    LostMember,
    Measurements,
    stacks_of,
)

RATE = EstimateRecord(2.0, 0.1, 400, math.log(400))
RELEVANCE = EstimateRecord(1.5, None, 400, None, {"same_distance": 1.25, "label_entropy": 2.3})
POINT = {"kde_upper": RATE, "kde_relevance_upper": RELEVANCE}


def test_a_member_has_a_key_for_files_and_words_for_readers():
    member = Member("vib", 0.1, 3)
    assert (member.key, str(member)) == ("vib-0.1-3", "vib, beta = 0.1, seed 3")
    assert Member("aib", 1e-05, 0).key == "aib-1e-05-0"
    assert str(Member("aib", 0.1 + 0.2, 0)) == "aib, beta = 0.3, seed 0"
    assert Member("aib", 0.1 + 0.2, 0).key == "aib-0.30000000000000004-0"


def test_members_of_equal_numbers_are_equal_and_have_an_order():
    assert Member("vib", 1, 0) == Member("vib", 1.0, 0)
    assert Member("vib", 1, 0).key == "vib-1.0-0"
    assert Member("vib", np.float64(0.5), 0).key == "vib-0.5-0"
    unordered = [Member("vib", 10.0, 0), Member("vib", 2.0, 1), Member("vib", 2.0, 0)]
    assert sorted(unordered) == unordered[::-1]


def test_members_are_measured_together_with_others_of_their_method():
    members = [Member(name, 0.1, seed) for name in ("vib", "aib") for seed in range(3)]
    stacks = list(stacks_of(members, lambda first: 2 if first.method == "vib" else 5))
    assert stacks == [members[:2], members[2:3], members[3:]]
    assert list(stacks_of([], lambda first: 1)) == []


@pytest.mark.parametrize(("beta", "seed"), [(-0.1, 0), (math.nan, 0), (math.inf, 0), (0.1, -1)])
def test_what_no_member_has_is_refused(beta, seed):
    with pytest.raises(
        ConfigError, match="expected a beta and a seed of at least 0, got vib, beta"
    ):
        Member("vib", beta, seed)


def test_an_estimate_in_bits():
    assert RATE.bits == pytest.approx(2 / math.log(2))
    assert EstimateRecord(None, None, 4, None).bits is None


def test_the_point_of_a_curve_uses_one_distance_for_both_axes():
    measured = Measurements(accuracy=Accuracy(1, 1, 1), information={"train": POINT, "test": POINT})
    assert measured.has_latent
    assert measured.curve_point("test") == (2.0, 1.25)


@pytest.mark.parametrize(
    "estimates",
    [
        {},
        {"kde_upper": RATE},
        {"kde_relevance_upper": RELEVANCE},
        POINT | {"kde_upper": EstimateRecord(None, None, 400, None)},
        POINT | {"kde_relevance_upper": RATE},
        POINT
        | {"kde_relevance_upper": EstimateRecord(1.0, None, 4, None, {"same_distance": None})},
    ],
)
def test_a_record_without_these_numbers_says_so(estimates):
    measured = Measurements(accuracy=Accuracy(1, 1, 1), information={"test": estimates})
    assert not measured.has_latent
    with pytest.raises(StoreError, match=r"I\(X;Z\) was not measured on the test data"):
        measured.curve_point("test")


def test_a_record_is_the_same_after_it_was_stored(tmp_path):
    attack = AttackRecord("pgd", "linf", 0.1, 0.5, None, 0.04, 20, "mean", 1, 400, 200)
    record = MemberRecord(
        accuracy=Accuracy(0.9, 0.8, 0.7),
        information={"train": POINT, "test": {}},
        sampled_test_accuracy=0.75,
        attacks=[attack, attack],
        method="vib",
        beta=0.1 + 0.2,
        seed=3,
        best_epoch=4,
        adversarial="trades",
    )
    write_json(tmp_path / "a.json", "record of a model", record)
    assert read_json(tmp_path / "a.json", "record of a model", MemberRecord) == record
    assert record.member == Member("vib", 0.1 + 0.2, 3)
    lost = [LostMember(0.1, 0, "it became nan")]
    write_json(tmp_path / "b.json", "list", lost)
    assert read_json(tmp_path / "b.json", "list", list[LostMember]) == lost
