import math

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.information._checks import (
    as_real,
    as_scale,
    check_betas,
    check_pair,
    check_scale,
    check_seed,
    constant_columns,
    full_precision,
    labels_of,
    standard_error,
)

MEAN = torch.zeros(4, 2).double()


def test_a_scale_is_one_number_or_one_for_each_mean():
    assert as_scale(np.float32(0.5)) == 0.5
    assert as_scale(torch.tensor(2)) == 2.0
    assert check_scale(0.5, MEAN).tolist() == [[0.5, 0.5]] * 4
    each = torch.full((4, 2), 3)
    assert check_scale(each, MEAN).dtype == torch.float64
    factor = torch.eye(2).expand(4, 2, 2)
    assert check_scale(factor, MEAN, cholesky=True).shape == (4, 2, 2)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (-1.0, "larger than 0"),
        (True, "must be a number"),
        (torch.ones(3, 2), r"a number or \[4, 2\], got \[3, 2\]"),
        (torch.ones(4, 2, 2), "for diagonal covariance only"),
        (torch.zeros(4, 2), "zero, negative or not finite"),
        (torch.full((4, 2), math.inf), "zero, negative or not finite"),
        (torch.ones(4, 2).bool(), "must hold real numbers"),
        ("1", "must be a torch.Tensor"),
    ],
)
def test_what_is_no_scale_is_refused(scale, message):
    with pytest.raises(InputError, match=message):
        check_scale(scale, MEAN)


def test_a_cholesky_factor_is_lower_triangular():
    with pytest.raises(InputError, match="lower triangular"):
        check_scale(torch.ones(4, 2, 2), MEAN, cholesky=True)


def test_labels_are_one_for_each_sample():
    assert labels_of(np.array([0, 2, 1, 1], dtype="uint8"), MEAN).dtype == torch.int64
    with pytest.raises(InputError, match="for each of 4 samples, got 3"):
        labels_of([0, 1, 1], MEAN)
    with pytest.raises(InputError, match=r"must lie in 0\.\.1"):
        labels_of([0, 1, 1, 2], MEAN, 2)


def test_pairs_have_equal_lengths():
    with pytest.raises(InputError, match="got 4 samples, 3 of z"):
        check_pair(MEAN, MEAN[:3])


def test_a_seed_is_one_that_a_generator_takes():
    assert check_seed(np.int8(3)) == 3
    for seed in (-1, 2**64, 1.0, "1"):
        with pytest.raises(InputError, match="seed must be"):
            check_seed(seed)


def test_betas_become_double_and_keep_their_order():
    assert check_betas(np.float32([0.5, 0.25])).tolist() == [0.5, 0.25]
    with pytest.raises(InputError, match=r"write \[0\.5\]"):
        check_betas(0.5)
    with pytest.raises(InputError, match="at least 1e-09, got 1e-12"):
        check_betas([1e-12], 1e-9)


def test_real_numbers_keep_single_and_double_precision():
    kinds = {torch.float16: torch.float32, torch.float32: torch.float32}
    kinds |= {torch.float64: torch.float64, torch.int32: torch.float64}
    for given, expected in kinds.items():
        assert as_real(torch.ones(2, dtype=given), "x").dtype == expected


def test_constant_columns_are_counted():
    assert constant_columns(torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 3.0]])) == 2


def test_a_standard_error_is_that_of_the_mean():
    terms = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert standard_error(terms) == pytest.approx(terms.std().item() / 2)


def test_autocast_is_off_where_precision_is_needed():
    device = torch.device("cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")
        with full_precision(device):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")
