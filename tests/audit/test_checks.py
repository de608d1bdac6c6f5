"""Each check on a model where it must fail, and on one where it must pass."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.attacks import PGD, FixedEps
from narrows.audit.checks import CHECKS
from narrows.audit.checks.silent_success import silently_fooled
from narrows.audit.planted import (
    Detached,
    NoisyInput,
    NoisyWeights,
    Probabilities,
    Quantised,
    Sawtooth,
    ScaledLogits,
    Shattered,
    Stopped,
    Temperature,
)
from narrows.audit.remedies import ANSWERS, REMEDIES, remedies_for
from narrows.types import Finding
from scenarios_audit import SMALL, Drifting, NaNGradient, NumPyInside, case_of, undefended


def lucky_seed():
    torch.manual_seed(0)
    return case_of(eps=0.02, siblings=(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),))


FAILS = {
    "probabilities": lambda: case_of(Probabilities),
    "state": lambda: case_of(Drifting),
    "gradients": lambda: case_of(ScaledLogits),
    "differentiable": lambda: case_of(Sawtooth),
    "linearity": lambda: case_of(Shattered),
    "unstable": lambda: case_of(NoisyWeights),
    "one_step": lambda: case_of(Shattered),
    "saturation": lambda: case_of(Temperature),
    "noise": lambda: case_of(NoisyInput),
    "convergence": lambda: case_of(budget=replace(SMALL, steps=1), eps=0.12),
    "chance": lambda: case_of(Stopped),
    "unbounded": lambda: case_of(Quantised),
    "seeds": lucky_seed,
    "gradient_free": lambda: case_of(Detached),
    "transfer": lambda: case_of(Stopped, twin=undefended()[0]),
}


@pytest.fixture(scope="module")
def honest():
    return case_of(eps=0.1, twin=undefended()[0], siblings=(undefended()[0],))


def test_every_check_has_a_row_and_an_answer():
    # The search in a case's own PGD never loses an image; see the test of a careless attack.
    assert set(FAILS) | {"silent_success"} == set(CHECKS) == set(ANSWERS)
    assert {name for names in ANSWERS.values() for name in names} == set(REMEDIES)


@pytest.mark.parametrize("name", FAILS)
def test_fails_where_it_must(name):
    found = CHECKS[name](FAILS[name]())
    assert isinstance(found, Finding)
    assert (found.check, found.passed, found.examined) == (name, False, True)
    assert found.evidence
    assert found.remedy


@pytest.mark.parametrize("name", CHECKS)
def test_passes_on_an_honest_model(name, honest):
    found = CHECKS[name](honest)
    assert (found.check, found.passed, found.remedy) == (name, True, "")
    assert found.examined


@pytest.mark.parametrize("wrap", [Detached, NaNGradient])
def test_a_gradient_that_is_missing_or_no_number_is_found(wrap):
    found = CHECKS["gradients"](case_of(wrap))
    assert not found.passed
    assert max(found.data.values()) == 1.0


class Careless(FixedEps):
    """Climbs like PGD, and returns the images it began with."""

    def perturb(self, query, x, generator):
        PGD(eps=self.eps, steps=10, restarts=1).perturb(query, x, generator)
        return x


def test_an_attack_that_loses_what_it_found_is_caught():
    model, x, y = undefended()
    right = model(x).argmax(1) == y
    lost = silently_fooled(Careless(eps=0.2), model, x, y)
    assert torch.equal(lost, right)
    assert not silently_fooled(PGD(eps=0.2, steps=10, restarts=1), model, x, y).any()


def test_gradients_that_cannot_be_asked_for_are_missing():
    found = CHECKS["gradients"](case_of(NumPyInside))
    assert (found.passed, found.data) == (False, {"missing": 1.0})


def test_siblings_without_a_gradient_are_attacked_all_the_same():
    case = case_of(Detached, siblings=(Detached(undefended()[0]),))
    assert CHECKS["seeds"](case).passed


def test_seeds_are_not_examined_without_siblings():
    assert not CHECKS["seeds"](case_of()).examined


def test_remedies_come_from_cheap_to_dear():
    assert remedies_for([]) == []
    assert remedies_for(["saturation"]) == ["margin", "float64", "log"]
    assert remedies_for([], thorough=True) == list(REMEDIES)
