"""Each remedy looks through the view that it promises, and only where that means something."""

import pytest
import torch

from narrows.audit.planted import Detached, NoisyWeights, Probabilities, Quantised
from narrows.audit.remedies import ALWAYS, ANSWERS, REMEDIES, _through, remedies_for, unfit
from scenarios_audit import Around, Misleading, MonteCarloDropout, case_of


class HardLabels(Around):
    """Nothing but the class."""

    def forward(self, x):
        return torch.nn.functional.one_hot(self.model(x).argmax(1), 10).float()


class NoisyProbabilities(Around):
    def forward(self, x):
        return Probabilities(MonteCarloDropout(self.model))(x)


@pytest.mark.parametrize(
    ("wrap", "plain", "around"),
    [
        (None, "plain", "straight_through+finite_differences"),
        (
            MonteCarloDropout,
            "fixed_noise",
            "straight_through+fixed_noise+finite_differences",
        ),
        (
            Probabilities,
            "float64+log",
            "float64+straight_through+log+finite_differences",
        ),
        (
            NoisyProbabilities,
            "float64+fixed_noise+log",
            "float64+straight_through+fixed_noise+log+finite_differences",
        ),
    ],
)
def test_noise_is_held_and_a_softmax_undone_where_there_is_one(wrap, plain, around):
    case = case_of(wrap)
    assert _through(case) == plain
    assert _through(case, first="straight_through", last="finite_differences") == around
    if case.stochastic:
        assert "many_draws" in _through(case, noise="many_draws")


def test_remedies_come_from_cheap_to_dear():
    assert remedies_for([]) == list(ALWAYS) == ["ensemble", "around"]
    assert remedies_for(["saturation"]) == [
        *("ensemble", "margin", "float64", "around", "twins", "views")
    ]
    assert remedies_for([], twins=True) == ["ensemble", "around", "twins"]
    assert remedies_for([], thorough=True) == list(REMEDIES)
    assert "log" not in remedies_for([], thorough=True, without=["log"])


def test_logarithms_of_logits_and_draws_without_noise_are_not_tried():
    assert unfit(case_of()) == ["log", "draws"]
    assert unfit(case_of(MonteCarloDropout)) == ["log"]
    assert unfit(case_of(Probabilities)) == ["draws"]
    assert [check for check, names in ANSWERS.items() if "log" in names] == ["probabilities"]
    case = case_of()
    for name in ("log", "draws"):
        REMEDIES[name](case)
    assert len(case.ledger.entries) == 1


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("margin", None),
        ("ensemble", None),
        ("straight_through", Quantised),
        ("finite_differences", Quantised),
        ("log", Probabilities),
        ("draws", NoisyWeights),
        ("transfer", Misleading),
        ("twins", Detached),
        ("labels", HardLabels),
    ],
)
def test_a_remedy_breaks_what_it_is_for(name, wrap):
    case = case_of(wrap)
    REMEDIES[name](case)
    assert len(case.survivors) <= 8
    assert len(case.ledger.entries) > 1


def test_the_ensemble_runs_all_of_its_attacks():
    case = case_of(eps=0.02)
    REMEDIES["ensemble"](case)
    names = [entry.name for entry in case.ledger.entries[1:]]
    assert [name.partition("(")[0] for name in names] == ["APGD", "APGD", "FAB"]
    assert "loss=targeted_dlr" in names[1]
    assert [entry.attacked for entry in case.ledger.entries[1:3]] == [40, 40]
