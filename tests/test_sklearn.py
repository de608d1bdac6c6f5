import pickle
import warnings
from contextlib import suppress
from unittest import SkipTest

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from narrows.errors import ConfigError
from narrows.sklearn import VIBClassifier

QUICK = {"epochs": 12, "hidden": (8,), "width": 4, "learning_rate": 0.02, "random_state": 0}
X, Y = load_wine(return_X_y=True)


def test_every_check_of_scikit_learn_passes():
    # SkipTest is a check's word for what is not installed here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the checks themselves
        for estimator, check in estimator_checks_generator(VIBClassifier(**QUICK)):
            with suppress(SkipTest):
                check(estimator)


def test_it_learns_wine_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    model = VIBClassifier(beta=1e-3, epochs=40, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.95
    assert torch.equal(torch.get_rng_state(), before)
    assert model.encode(X).shape == (178, 8)
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)


def test_a_larger_beta_passes_less():
    low, high = (VIBClassifier(beta=beta, random_state=0).fit(X, Y) for beta in (1e-4, 0.1))
    assert high.rate_ < 0.3 * low.rate_
    assert high.score(X, Y) > 0.95


def test_labels_of_any_kind_and_the_same_seed_gives_the_same_model():
    names = load_wine().target_names[Y]
    one, two = (VIBClassifier(**QUICK).fit(X, names) for _ in range(2))
    assert set(one.predict(X)) <= set(names)
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
    again = pickle.loads(pickle.dumps(one))  # noqa: S301
    assert np.array_equal(again.predict_proba(X), one.predict_proba(X))
    assert clone(one).get_params() == one.get_params()


def test_it_is_a_part_of_pipelines_and_searches():
    iris = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), VIBClassifier(**QUICK))
    assert cross_val_score(pipeline, *iris, cv=2).mean() > 0.6
    search = GridSearchCV(VIBClassifier(**QUICK), {"beta": [1e-3, 1.0]}, cv=2).fit(*iris)
    assert search.best_params_["beta"] in (1e-3, 1.0)


def test_without_a_validation_share_and_with_rare_classes():
    x, y = make_classification(40, random_state=0)
    y[:2] = 2  # too rare for a part to be held out
    assert len(VIBClassifier(**QUICK).fit(x, y).classes_) == 3
    for share in (0.01, 0.3):
        model = VIBClassifier(**QUICK, validation_fraction=share).fit(X, Y)
        assert model.predict(X).shape == (178,)


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(ValueError, match="samples of two classes, got the one class 0"):
        VIBClassifier(**QUICK).fit(X, Y * 0)
    with pytest.raises(ConfigError, match="epochs"):
        VIBClassifier(epochs=0).fit(X, Y)
    with pytest.raises(NotFittedError):
        VIBClassifier().predict(X)
    with pytest.raises(ValueError, match="NaN"):
        VIBClassifier(**QUICK).fit(np.where(X > 1000, np.nan, X), Y)
