import math
from collections import Counter

import pytest
import torch

from narrows.data import twelve_bit
from narrows.errors import InputError
from narrows.information import code_information, discrete_entropy, discrete_information
from narrows.information.discrete import label_rows
from scenarios import BinarySymmetric, NoiselessLabels, generator


def entropy(counts):
    total = sum(counts)
    return -sum(c / total * math.log(c / total) for c in counts if c > 0)


@pytest.mark.parametrize("classes", [2, 10])
def test_uniform_probabilities_have_the_logarithm_of_their_number(classes):
    p = torch.full((classes,), 1 / classes)
    assert discrete_entropy(p) == pytest.approx(math.log(classes), abs=1e-15)
    assert discrete_entropy(p.reshape(2, -1)) == discrete_entropy(p)
    assert discrete_entropy(torch.tensor([1.0, 0.0])) == 0


@pytest.mark.parametrize("target", [BinarySymmetric(0.2), NoiselessLabels(), BinarySymmetric(0.5)])
def test_information_of_a_joint_follows_its_formula(target):
    assert discrete_information(target.joint) == pytest.approx(target.information, abs=1e-14)
    assert discrete_information(target.joint.T) == pytest.approx(target.information, abs=1e-14)


def test_rows_and_columns_of_probability_0_are_fine():
    joint = torch.zeros(4, 5)
    joint[1:3, 2:4] = BinarySymmetric(0.1).joint.float()
    assert discrete_information(joint) == pytest.approx(BinarySymmetric(0.1).information, abs=1e-7)


def test_a_code_that_names_every_x_passes_all_and_a_constant_nothing():
    joint = twelve_bit.joint()
    rate, relevance = code_information(twelve_bit.patterns(), joint)
    assert rate == pytest.approx(12 * math.log(2))
    assert relevance / math.log(2) == pytest.approx(0.99, abs=1e-6)
    assert code_information(torch.ones(4096, 3), joint) == pytest.approx((0, 0), abs=1e-12)


def test_a_code_equals_its_definition():
    draw = generator(0)
    codes = torch.randint(3, (200, 2), generator=draw)
    y = torch.randint(2, (200,), generator=draw)
    joint = torch.eye(2, dtype=torch.float64)[y] / 200
    rows = [tuple(row) for row in codes.tolist()]
    z, both = Counter(rows), Counter(zip(rows, y.tolist(), strict=True))
    rate, relevance = code_information(codes, joint)
    assert rate == pytest.approx(entropy(z.values()), abs=1e-13)
    expected = entropy(z.values()) + entropy(Counter(y.tolist()).values()) - entropy(both.values())
    assert relevance == pytest.approx(expected, abs=1e-13)


def test_a_quantised_code_is_the_same_in_any_shape_and_type():
    codes = (torch.rand(64, 2, 3, generator=generator(1)) * 3).floor()
    joint = torch.rand(64, 2, dtype=torch.float64, generator=generator(2))
    joint /= joint.sum()
    for other in (codes.double(), codes.long(), codes.reshape(64, 6) * 0.1):
        assert code_information(other, joint) == code_information(codes, joint)


@pytest.mark.parametrize("columns", [1, 5, 90])
def test_equal_rows_get_equal_numbers(columns):
    codes = torch.randint(2, (300, columns), generator=generator(columns)).repeat(2, 1)
    codes[0, 0] = 7
    label = label_rows(codes)
    rows = [tuple(row) for row in codes.tolist()]
    assert len(set(zip(rows, label.tolist(), strict=True))) == len(set(rows)) == label.max() + 1


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (torch.tensor([0.5, 0.4]), "sum to 1, got 0.9"),
        (torch.tensor([1.5, -0.5]), "negative numbers"),
        (torch.tensor([math.nan, 1.0]), "NaN"),
        (torch.tensor([]), r"\[1, 0\]"),
        (torch.tensor([2, 3]), "divide counts by their sum"),
    ],
)
def test_what_is_no_distribution_is_refused(p, message):
    with pytest.raises(InputError, match=message):
        discrete_entropy(p)
    with pytest.raises(InputError, match=message):
        discrete_information(p[None])


def test_codes_that_do_not_fit_are_refused():
    joint = BinarySymmetric().joint
    with pytest.raises(InputError, match=r"each of the 2 x .* got \[3, 1\]"):
        code_information(torch.zeros(3, 1), joint)
    with pytest.raises(InputError, match="NaN"):
        code_information(torch.tensor([0.0, math.nan]), joint)
    with pytest.raises(InputError, match=r"\[X, Y\]"):
        discrete_information(torch.ones(1))


def test_arrays_and_lists_are_taken_and_an_x_that_never_occurs_counts_for_nothing():
    joint = [[0.3, 0.2], [0.0, 0.0], [0.1, 0.4]]
    exact = torch.tensor(joint, dtype=torch.float64)
    assert discrete_information(joint) == discrete_information(exact)
    assert discrete_entropy([0.5, 0.5]) == pytest.approx(math.log(2))
    rate, relevance = code_information([0, 1, 2], joint)
    assert rate == pytest.approx(math.log(2))
    assert relevance == pytest.approx(discrete_information(joint))
