import pytest
import torch

from narrows.information import ksg, ksg_relevance
from narrows.information._ksg_diagnostics import Settings, diagnose
from scenarios import CorrelatedGaussians, generator

N = 60
X, Z = CorrelatedGaussians(0.6, d=3).sample(N)
Y = (X[:, 0] > 0).long()
SETTINGS = Settings(3, 1, "columns", 0.0)
RADIUS = torch.ones(N).double()


def warning(inside=None, width=0.1, radius=RADIUS, **variables):
    return diagnose(SETTINGS, radius, inside, width, **(variables or {"x": X, "z": Z}))["warning"]


def test_well_behaved_samples_are_not_warned_of():
    diagnostics = diagnose(SETTINGS, RADIUS, None, 0.1, x=X, z=Z)
    assert diagnostics["warning"] is None
    assert diagnostics["bound"] == "none"
    assert (diagnostics["neighbours"], diagnostics["variant"]) == (3, 1)
    assert (diagnostics["duplicates"], diagnostics["ties"]) == (0, 0)
    assert diagnostics["neighbourhood"] == 0.1
    assert "alone" not in diagnostics


def test_each_reason_to_doubt_has_its_sentence():
    flat = torch.zeros(N, 2).double()
    assert "x is constant and carries nothing" in warning(x=flat, z=Z)
    assert "x and z is constant" in warning(x=flat, z=flat)
    assert "too many dimensions" in warning(width=0.9)
    half = RADIUS * (torch.arange(N) % 2)
    assert "50.0% of the samples equal 3 others" in warning(radius=half)
    assert "z is rounded or discrete" in warning(x=X, z=Z.sign())
    assert "x is rounded or discrete" in warning(x=X.sign(), z=Z)
    inside = torch.where(torch.arange(N) % 2 == 0, 1, 4)
    assert "50.0% of the samples have values that no other sample has" in warning(inside)
    # An estimate for atoms is not warned of ties.
    assert warning(torch.full((N,), 4), x=X.sign(), z=Z) is None


@pytest.mark.parametrize("variant", [1, 2])
def test_repeated_samples_are_warned_of(variant):
    x, z = CorrelatedGaussians(0.6).sample(300)
    twice = ksg(x.repeat(2, 1), z.repeat(2, 1), variant=variant)
    assert "100.0% of the samples occur more than once" in twice.diagnostics["warning"]
    y = (x[:, 0] > 0).long()
    assert ksg_relevance(z, y).diagnostics["warning"] is None
    repeated = ksg_relevance(z.repeat(2, 1), y.repeat(2)).diagnostics["warning"]
    assert "occur more than once" in repeated


def test_a_few_values_far_out_make_no_unit():
    x, z = CorrelatedGaussians(0.6).sample(1000)
    x[0] = 1e6
    far = ksg(x, z)
    assert far.nats < 0.1 * ksg(x, z, scaling="ranks").nats
    assert "a column of x has a few values so far out" in far.diagnostics["warning"]
    assert "a column of z has" in ksg(z, x).diagnostics["warning"]
    assert ksg(x, z, scaling="ranks").diagnostics["warning"] is None
    # Of one column alone the unit does not matter.
    assert ksg_relevance(x, (z[:, 0] > 0).long()).diagnostics["warning"] is None
    # The zeros of a rectified code are one value.
    rectified = torch.where(x.argsort(0).argsort(0) > 900, z, 0)
    assert ksg(rectified, z).diagnostics["warning"] is None


def test_a_constant_column_leaves_the_width_of_neighbourhoods_alone():
    wider = torch.cat([X, torch.ones(N, 2).double()], 1)
    plain, with_constants = (ksg(x, Z).diagnostics["neighbourhood"] for x in (X, wider))
    assert with_constants == pytest.approx(plain)
    assert ksg(wider, Z).diagnostics["constant_columns"] == 2


def test_duplicates_are_counted_with_and_without_a_tree(monkeypatch):
    x = X.round()
    with_tree = ksg(x, x, variant=1)
    monkeypatch.setattr("narrows.information._neighbours._FEW", 0)
    assert ksg(x, x, variant=1) == with_tree
    assert 0 < with_tree.diagnostics["duplicates"] < 1
    assert "no density" in with_tree.diagnostics["warning"]


@pytest.mark.parametrize("variant", [1, 2])
def test_a_variable_that_was_rounded_alone_is_named(variant):
    x, z = torch.randn(2, 500, 1, dtype=torch.float64, generator=generator(0))
    assert ksg(x, z, variant=variant).diagnostics["warning"] is None
    rounded = ksg(x, z.mul(10).round().div(10), variant=variant)
    assert abs(rounded.nats) > 4 * rounded.std_error
    diagnostics = rounded.diagnostics
    assert (diagnostics["duplicates"], diagnostics["ties"] > 0.5) == (0, True)
    assert "z is rounded or discrete" in diagnostics["warning"]
    named = ksg(z.mul(10).round().div(10), x, variant=variant).diagnostics["warning"]
    assert "x is rounded" in named
    # A few ties are what single precision makes of any normal variable.
    assert ksg(x.float(), z.float()).diagnostics["warning"] is None


def test_equal_samples_of_one_label_are_counted():
    noise = torch.randn(N, 1, generator=generator(1))
    diagnostics = ksg_relevance(torch.where(Y[:, None] == 1, 0.0, noise), Y).diagnostics
    assert diagnostics["duplicates"] == pytest.approx(Y.double().mean().item())
