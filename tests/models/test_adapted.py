from types import SimpleNamespace

import pytest
import torch
from torch import nn

from narrows import PGD, adapt, as_classifier
from narrows.errors import ConfigError, InputError
from narrows.models import Bottleneck

X = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Returns(nn.Module):
    """Its own input's channel means, wrapped in whatever is wanted."""

    def __init__(self, wrap=lambda logits: logits):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x.flatten(2).mean(2))


def test_the_network_sees_normalised_images():
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    expected = (X.flatten(2).mean(2) - torch.tensor(mean)) / torch.tensor(std)
    logits = adapt(Returns(), mean=mean, std=std)(X).logits
    torch.testing.assert_close(logits, expected)
    shifted = adapt(Returns(), mean=0.5)(X).logits
    torch.testing.assert_close(shifted, X.flatten(2).mean(2) - 0.5)


@pytest.mark.parametrize(
    ("wrap", "pick"),
    [
        (lambda z: (0, z), lambda output: output[1]),
        (lambda z: (z, 0), 0),
        (lambda z: {"scores": z, "loss": 0}, "scores"),
        (lambda z: SimpleNamespace(logits=z), "logits"),
        (lambda z: SimpleNamespace(aux=0, logits=z), lambda output: output.logits),
    ],
)
def test_logits_are_picked_of_any_output(wrap, pick):
    model = adapt(Returns(wrap), logits=pick)
    assert torch.equal(model(X).logits, X.flatten(2).mean(2))
    attacked = PGD(eps=0.1, steps=2, restarts=1)(model, X, torch.zeros(6, dtype=torch.int64))
    assert attacked.x_adv.shape == X.shape


def test_a_latent_is_still_there_behind_a_normalisation():
    coded = Bottleneck(nn.Sequential(nn.Flatten(), nn.Linear(48, 8)), nn.Linear(4, 3), latent="gaussian")  # fmt: skip  # noqa: E501
    model = adapt(coded, mean=0.5, std=0.5)
    assert model(X).latent.mean.shape == (6, 4)
    classifier = as_classifier(model, mode="mean")
    assert torch.equal(classifier(X), classifier(X))


@pytest.mark.parametrize(
    "wrong", [{"std": 0}, {"std": [1, -1]}, {"mean": float("nan")}, {"mean": []}]
)
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match="finite numbers and std positive ones"):
        adapt(Returns(), **wrong)


def test_what_does_not_fit_the_images_or_the_output():
    with pytest.raises(InputError, match="mean has 2 numbers, and the images have 3 channels"):
        adapt(Returns(), mean=[0, 0])(X)
    with pytest.raises(InputError, match="has no 'logits'; it is Tensor"):
        adapt(Returns(), logits="logits")(X)
    with pytest.raises(InputError, match=r"has no 'logits'; it is \['scores'\]"):
        adapt(Returns(lambda z: {"scores": z}), logits="logits")(X)
