"""What a wrong input becomes: an error that says what arrived, or a diagnostic; never a number."""

import math

import pytest
import torch

from narrows.errors import InputError
from narrows.information import (
    achievable_region,
    binary_codes,
    binned_rate,
    binned_relevance,
    bit_table,
    blahut_arimoto,
    chain_information,
    cka,
    code_information,
    critic_bound,
    deterministic_bottleneck,
    discrete_entropy,
    discrete_information,
    fit_critic,
    gaussian_kernel,
    hsic,
    information_bottleneck,
    kde_bounds,
    kde_relevance,
    ksg,
    ksg_relevance,
    learnability,
    linear_kernel,
    renyi_entropy,
    renyi_information,
    stacked_binned_rates,
    stacked_kde_bounds,
    stacked_rates,
    variational_rate,
    variational_relevance,
)
from scenarios import CorrelatedGaussians

N = 60
X, Z = CorrelatedGaussians(0.6, d=3).sample(N)
Y = (X[:, 0] > 0).long()

OF_A_CODE = {
    "binned_rate": binned_rate,
    "binned_relevance": lambda z: binned_relevance(z, Y[: len(z)]),
    "fit_critic": lambda z: fit_critic(z, Z[: len(z)]),
    "kde_bounds": lambda z: kde_bounds(z, 0.5),
    "kde_relevance": lambda z: kde_relevance(z, 0.5, Y[: len(z)]),
    "ksg": lambda z: ksg(z, Z[: len(z)]),
    "ksg of z": lambda z: ksg(X[: len(z)], z),
    "ksg_relevance": lambda z: ksg_relevance(z, Y[: len(z)]),
    "renyi_information": lambda z: renyi_information(z, Z[: len(z)]),
    "stacked_binned_rates": lambda z: stacked_binned_rates(z[None]),
    "stacked_kde_bounds": lambda z: stacked_kde_bounds(z[None], 0.5),
    "stacked_rates": lambda z: stacked_rates(z[None], 0.5),
    "variational_rate": lambda z: variational_rate(z, 0.5),
    "variational_relevance": lambda z: variational_relevance(z, Y[: len(z)]),
}
OF_A_KERNEL = {
    "hsic, biased": lambda k: hsic(k, linear_kernel(Z)),
    "hsic, unbiased": lambda k: hsic(linear_kernel(Z), k, "unbiased"),
    "hsic, normalised": lambda k: hsic(k, gaussian_kernel(Z), "normalised"),
    "cka": lambda k: cka(linear_kernel(Z), k),
    "renyi_entropy": lambda k: renyi_entropy(k),
    "critic_bound": lambda k: critic_bound(k),
}
OF_A_JOINT = {
    "achievable_region": achievable_region,
    "blahut_arimoto": lambda joint: blahut_arimoto(joint, [0.5]),
    "chain_information": lambda joint: chain_information([torch.eye(4)], joint),
    "code_information": lambda joint: code_information(torch.arange(4), joint),
    "deterministic_bottleneck": lambda joint: deterministic_bottleneck(joint, [0.5]),
    "discrete_entropy": discrete_entropy,
    "discrete_information": discrete_information,
    "information_bottleneck": lambda joint: information_bottleneck(joint, [0.5]),
    "learnability": learnability,
}


def changed(values, value):
    """A copy with one entry replaced."""
    copy = values.clone()
    copy[1, 1] = value
    return copy


BAD_CODES = [
    (changed(X, math.nan), "NaN or infinity"),
    (changed(X, math.inf), "NaN or infinity"),
    (changed(X, 1e200), r"up to 1\.0e\+200, whose squares overflow"),
    (X[:, :0], r"\[60, 0\] and has no columns"),
    (X[:0], "holds 0 samples"),
    (X[:1], "holds 1 samples"),
]
UNIFORM = torch.full((4, 2), 0.125, dtype=torch.float64)
BAD_JOINTS = [
    (0.98 * UNIFORM, r"must sum to 1, got 0\.98"),
    (changed(UNIFORM, -0.125), "negative numbers, NaN or infinity"),
    (changed(UNIFORM, math.nan), "negative numbers, NaN or infinity"),
    (changed(UNIFORM, math.inf), "negative numbers, NaN or infinity"),
    (torch.ones(4, 2).long(), "must sum to 1, got 8; divide counts by their sum"),
]
BAD_TABLES = [
    ([], "expected a table for each layer, got none"),
    ([torch.eye(3)], r"table 1 must be \[4, codes\], got \[3, 3\]"),
    ([torch.zeros(4, 0)], r"table 1 must be \[4, codes\], got \[4, 0\]"),
    ([torch.eye(4), 0.9 * torch.eye(4)], "rows of table 2 .* off 1 by 0.1"),
    ([torch.eye(4) - 0.1], r"the smallest is -0\.1"),
    ([changed(torch.eye(4), math.nan)], "the smallest is nan"),
]


def rows(functions, inputs):
    return [
        pytest.param(function, bad, message, id=f"{name}: {message}")
        for name, function in functions.items()
        for bad, message in inputs
    ]


@pytest.mark.parametrize(
    ("function", "bad", "message"),
    [
        *rows(OF_A_CODE, BAD_CODES),
        *rows(
            OF_A_KERNEL,
            [(linear_kernel(bad), "NaN or inf") for bad in (BAD_CODES[0][0], BAD_CODES[1][0])],
        ),
        *rows(OF_A_JOINT, BAD_JOINTS),
        *rows({"chain": lambda tables: chain_information(tables, UNIFORM)}, BAD_TABLES),
        *rows(
            {"bit_table": bit_table},
            [
                (torch.tensor([0.5, 1.5]), r"must lie in 0\.\.1, got 0\.5 to 1\.5"),
                (torch.tensor([-0.1]), "got -0.1 to -0.1"),
                (torch.tensor([math.nan]), "got nan"),
                (torch.ones(3, 0), r"\[\.\.\., units\], got \[3, 0\]"),
            ],
        ),
        *rows(
            {"binary_codes": binary_codes},
            [
                (-1, "units must be at least 1, got -1"),
                (0, "units must be at least 1, got 0"),
                (40, "every code of 40 units"),
            ],
        ),
        *rows(
            {"cka": lambda k: cka(k, linear_kernel(X)), "cka of other": lambda k: cka(k.mT, k)},
            [(linear_kernel(torch.full((N, 3), 2.1)), "a kernel is constant")],
        ),
        *rows(
            {"hsic": lambda k: hsic(k, gaussian_kernel(X), "normalised")},
            [(-gaussian_kernel(X), "eigenvalues well below 0")],
        ),
        *rows({"renyi": renyi_entropy}, [(torch.ones(0, 0), "kernels .* of the same samples")]),
        *rows(
            {
                "kde_bounds": lambda z: kde_bounds(z, 1.0),
                "kde_relevance": lambda z: kde_relevance(z, 1.0, Y),
                "stacked": lambda z: stacked_kde_bounds(z[None], 1.0),
            },
            [(1e9 * X, "lost in rounding")],
        ),
        *rows(
            {"ksg": lambda k: ksg(X, Z, k), "relevance": lambda k: ksg_relevance(X, Y, k)},
            [(N, f"below the number of samples {N}, got {N}"), (0, "got 0")],
        ),
    ],
)
def test_it_is_refused(function, bad, message):
    with pytest.raises(InputError, match=message):
        function(bad)


@pytest.mark.parametrize("variant", [1, 2])
def test_a_constant_variable_is_named(variant):
    flat = torch.full_like(X, 3.0)
    for arguments, name in [((X, flat), "z is"), ((flat, X), "x is")]:
        about = ksg(*arguments, variant=variant).diagnostics
        assert about["warning"].startswith(f"{name} constant")
        assert about["constant_columns"] == 3


CODE = torch.cat([X, torch.ones(N, 2)], 1)


@pytest.mark.parametrize(
    "estimate",
    [
        binned_rate(CODE),
        binned_relevance(CODE, Y),
        *kde_bounds(CODE, 0.5),
        *kde_relevance(CODE, 0.5, Y),
        ksg(CODE, Z),
        ksg_relevance(CODE, Y),
        renyi_information(CODE, Z),
        *stacked_binned_rates(CODE[None]),
        *stacked_kde_bounds(CODE[None], 0.5)[0],
    ],
)
def test_constant_columns_are_counted_and_change_nothing_else(estimate):
    assert estimate.diagnostics["constant_columns"] == 2
    assert math.isfinite(estimate.nats)


def test_the_smallest_noise_that_is_accepted_keeps_to_the_ceiling():
    code = X / torch.linalg.vector_norm(X, dim=1).max() * 2.9e6
    for estimate in kde_bounds(code - code.mean(0), 1.0):
        assert estimate.nats == pytest.approx(estimate.ceiling, abs=1e-3)


def test_a_loss_shows_its_nan_and_a_flat_kernel_has_no_gradient():
    k = linear_kernel(X)
    broken = changed(k, math.nan).requires_grad_()
    for kind in ("biased", "unbiased", "normalised"):
        assert hsic(broken, k, kind).isnan()
    flat = torch.full_like(X, 2.1).requires_grad_()
    alignment = cka(linear_kernel(flat), k)
    alignment.backward()
    assert alignment.item() == 0
    assert flat.grad is not None
    assert not flat.grad.any()


def test_scores_whose_bound_is_not_finite_are_named():
    scores = 1e3 * torch.ones(4, 4, dtype=torch.float64)
    with pytest.raises(InputError, match="no finite nwj bound; the critic has diverged"):
        critic_bound(scores, "nwj")


def test_a_joint_without_rows_is_named():
    with pytest.raises(InputError, match=r"\[0, 2\]"):
        learnability(torch.empty(0, 2))
