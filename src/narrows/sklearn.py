"""VIB as an estimator of scikit-learn, for tabular data: `VIBClassifier().fit(X, y)`.

It needs scikit-learn: `pip install narrows[sklearn]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from narrows.data import Dataset, split_off
from narrows.errors import ConfigError, DataError
from narrows.methods import VIB
from narrows.models import NetworkConfig, build_network, latent_mode
from narrows.models.evaluating import evaluating
from narrows.models.gaussian import kl_to_standard_normal
from narrows.models.noise import forked_rng
from narrows.models.outputs import as_output
from narrows.training import Objective, Solo, TrainConfig, fit
from narrows.types import ModelOutput

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ConfigError(
        f"narrows.sklearn needs scikit-learn 1.6 or later ({error}); install it with "
        "pip install 'narrows[sklearn]'"
    ) from error

__all__ = ["VIBClassifier"]


def _array(values: Any) -> np.ndarray[Any, Any]:
    """What scikit-learn has checked; its annotations do not say that it is an array."""
    return values


_FEWEST = 5  # samples of each class, from which a part is held out for validation


class VIBClassifier(ClassifierMixin, BaseEstimator):
    r"""A dense network with a Gaussian code between its layers, trained by VIB.

        min  E[-log q(y|z)] + beta E[KL(p(z|x) || N(0, I))],   z = mu(x) + sigma(x) eps

    The second term is an upper bound of I(X;Z) in nats. Features are standardised inside.
    Predictions are made at the mean of the code, without noise.

    Source: Alemi, Fischer, Dillon & Murphy (2017), arXiv 1612.00410, Eq. 17; `narrows.VIB`.

    Args:
        beta: weight of the rate, in nats of loss per nat.
        hidden: widths of the layers before the code; the same in reverse order come after it.
        width: number of units of the code.
        epochs: passes over the samples, at most.
        batch_size: samples per step.
        learning_rate: of Adam.
        validation_fraction: share of each class that is held out to choose the best epoch on; 0 to
            train on all samples and keep the last epoch. An early epoch may pass more information
            than beta is worth. Where a class has fewer than 5 samples, none are held out.
        device: where the network is trained, `"cpu"` or `"cuda"`.
        random_state: seed of weights, noise, order and the choice of held-out samples.

    Attributes:
        classes_: the labels, in the order of the columns of `predict_proba`.
        model_: the network, a `narrows.Bottleneck`.
        n_features_in_: number of features.
        rate_: the bound of I(X;Z) on the samples of `fit`, in nats.

    Raises:
        ValueError: from `fit` and `predict`, for input that scikit-learn refuses.
        ConfigError: from `fit`, for settings out of range.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> VIBClassifier(beta=0.01, epochs=50, random_state=0).fit(X, y).score(X, y) > 0.9
        True
    """

    def __init__(
        self,
        beta: float = 1e-3,
        hidden: Sequence[int] = (64,),
        width: int = 8,
        epochs: int = 200,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        validation_fraction: float = 0.0,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.beta = beta
        self.hidden = hidden
        self.width = width
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> VIBClassifier:
        """Train on samples `X: [n, features]` with labels `y: [n]` of any kind.

        Args:
            X: numbers, without NaN and infinity.
            y: labels: numbers, text or booleans.

        Returns:
            The estimator itself.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"a classifier needs samples of two classes, got the one class {self.classes_[0]}"
            )
        self._mean, scale = X.mean(0), X.std(0)
        self._scale = np.where(scale > 0, scale, 1.0)
        seed = int(check_random_state(self.random_state).randint(2**31))
        labels = torch.from_numpy(numbers.astype(np.int64))
        data = Dataset("samples", self._standardised(X), labels, len(self.classes_), image=False)
        self.model_ = self._trained(data, seed)
        latent = self._output(data.all().x).latent
        assert latent is not None
        self.rate_ = float(kl_to_standard_normal(latent).mean())
        return self

    def _trained(self, data: Dataset, seed: int) -> nn.Module:
        layers = [int(width) for width in self.hidden]
        network = NetworkConfig(
            encoder=layers, bottleneck=self.width, decoder=layers[::-1], normalise=False
        )
        with forked_rng(seed=seed):
            model = build_network(network, data.shape, data.classes, "gaussian")
        train, validation = self._held_out(data, seed)
        settings = TrainConfig(
            epochs=self.epochs,
            batch_size=min(self.batch_size, len(train)),
            learning_rate=self.learning_rate,
        )
        solo = Solo(Objective(model, VIB(beta=self.beta)), seed, self.device)
        trainer = fit(solo, train.to(self.device), validation.to(self.device), settings)
        members = trainer.best_members() if self.validation_fraction else solo
        return members.member(0).model.cpu().eval()

    def _held_out(self, data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
        if not self.validation_fraction or data.y.bincount().min() < _FEWEST:
            return data, data
        try:
            return split_off(data, self.validation_fraction, seed)
        except DataError:  # the share of every class rounds to nothing
            return data, data

    def _standardised(self, X: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(((X - self._mean) / self._scale).astype(np.float32))

    def _output(self, x: Tensor) -> ModelOutput:
        with torch.no_grad(), evaluating(self.model_), latent_mode(self.model_, "mean"):
            return as_output(self.model_(x))

    def _checked(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return self._standardised(_array(validate_data(self, X, dtype=np.float64, reset=False)))

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """Probabilities `[n, classes]`, in the order of `classes_`.

        Args:
            X: `[n, features]`.
        """
        return self._output(self._checked(X)).logits.double().softmax(1).numpy()

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The most probable label of each sample.

        Args:
            X: `[n, features]`.
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def encode(self, X: Any) -> np.ndarray[Any, Any]:
        """The mean of the code of each sample: `[n, width]`.

        Args:
            X: `[n, features]`.
        """
        latent = self._output(self._checked(X)).latent
        assert latent is not None
        return latent.mean.double().numpy()
