"""Twins are trained from scratch, from data that is given or from the images, and transfer."""

from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from narrows.audit.planted import Detached
from narrows.audit.twins import Together, reinitialised, small_network, train_twin
from narrows.data import load
from narrows.errors import InputError
from narrows.models.outputs import logits_of
from scenarios_audit import Around, Misleading, case_of, undefended


def training(count=1000):
    return load("digits").train.batch(slice(0, count))


def accuracy(model, case):
    return (logits_of(model, case.x).argmax(1) == case.y).double().mean()


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("model_labels", [True, False])
def test_a_twin_learns_what_the_model_was_trained_for(same, model_labels):
    case = case_of(Misleading, training=training())
    twin = train_twin(case, same=same, model_labels=model_labels)
    assert accuracy(twin, case) > 0.7
    assert not any(part.requires_grad for part in twin.parameters())
    assert not twin.training


def test_the_twin_is_of_the_classifier_inside_without_its_weights():
    case = case_of(Misleading, training=training())
    twin, inside = train_twin(case, same=True, model_labels=False), undefended()[0]
    assert type(twin) is type(inside)
    for made, trained in zip(twin.parameters(), inside.parameters(), strict=True):
        assert made.shape == trained.shape
        assert not torch.equal(made, trained)
    assert inside[1].weight.requires_grad is False  # the model is as it was


def test_more_data_makes_a_better_twin():
    few, many = case_of(Detached, eps=0.15), case_of(Detached, eps=0.15, training=training())
    assert few.describe_training() == (
        "the 40 audited images themselves, as no training data was given"
    )
    assert many.describe_training() == "1,000 training images"
    right = [
        accuracy(train_twin(case, same=False, model_labels=False), case) for case in (few, many)
    ]
    assert right[0] > 0.9  # it has seen them
    assert right[1] > 0.8


def test_the_same_seed_makes_the_same_twin():
    first, again = (
        train_twin(case_of(training=training(200)), same=False, model_labels=True) for _ in range(2)
    )
    assert all(
        torch.equal(one, other)
        for one, other in zip(first.parameters(), again.parameters(), strict=True)
    )


def test_every_matrix_is_drawn_anew_and_the_original_stays():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.eye(4))
            self.bias = nn.Parameter(torch.ones(4))
            self.layer, self.norm = orthogonal(nn.Linear(4, 4)), nn.BatchNorm1d(4)

    model = Bare()
    model.norm.running_mean += 3
    twin = reinitialised(model)
    for name, part in model.named_parameters():
        if part.dim() > 1:
            assert not torch.equal(part, dict(twin.named_parameters())[name]), name
    assert twin.norm.running_mean.eq(0).all()
    assert torch.equal(model.weight, torch.eye(4))
    with pytest.raises(ValueError, match="no parameters"):
        reinitialised(nn.ReLU())


def test_a_model_that_cannot_be_copied_or_trained_has_no_twin():
    class Locked(Around):
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    class Constant(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10] * 1.0

    class Outermost(Locked):
        def forward(self, x):
            return self.model[1:](x.flatten(1))

    assert train_twin(case_of(Outermost), same=True, model_labels=False) is None
    assert train_twin(case_of(lambda model: Constant()), same=True, model_labels=False) is None


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 32, 32), (2, 7), (2, 1, 16, 20)])
def test_the_small_network_takes_any_image(shape):
    x = torch.rand(shape)
    assert small_network(x, 5)(x).shape == (2, 5)
    convolutions = [m for m in small_network(x, 5).modules() if isinstance(m, nn.Conv2d)]
    assert bool(convolutions) is (len(shape) == 4 and shape[-1] >= 16)


def test_a_twin_of_a_model_that_returns_probabilities_is_taught_their_logarithm():
    case = case_of(lambda model: nn.Sequential(*model, nn.Softmax(1)), training=training())
    assert case.probabilities
    small = train_twin(case, same=False, model_labels=False)
    assert accuracy(small, case) > 0.8  # its outputs are logits and are taken for such
    twin = train_twin(case, same=True, model_labels=False)
    assert accuracy(twin, case) > 0.8
    assert twin(case.x).max(1).values.mean() < 0.78  # not pressed to certainty to be heard


def test_together_is_the_mean_at_one_temperature():
    model, x, _ = undefended()
    hot = Around(model)
    hot.forward = lambda x: 50 * model(x)
    both = Together([model, hot], x)
    torch.testing.assert_close(both(x), Together([model], x)(x))
    assert torch.equal(both(x).argmax(1), model(x).argmax(1))
    torch.testing.assert_close(both(x.double()), both(x))  # a view in double precision asks it too


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(3, 1, 4, 4), [0, 1, 2], "must have the shape"),
        (torch.rand(3, 1, 8, 8), [0, 1], "labels"),
        (torch.rand(3, 1, 8, 8), [0, 1, 12], r"labels must lie in 0\.\.9"),
        (2 + torch.rand(3, 1, 8, 8), [0, 1, 2], r"\[0, 1\]"),
    ],
)
def test_training_data_of_another_kind_is_refused(x, y, message):
    with pytest.raises(InputError, match=message):
        case_of(training=(x, y))


class Seeing(nn.Linear):
    """Keeps every batch that it is trained on."""

    shown: ClassVar[list[torch.Tensor]] = []

    def __init__(self):
        super().__init__(64, 10)

    def forward(self, x):
        if self.training:
            self.shown.append(x.detach())
        return super().forward(x.flatten(1))


@pytest.mark.parametrize("given", [True, False])
def test_only_the_audited_images_themselves_are_moved_by_noise(given):
    Seeing.shown.clear()
    changes = {"training": training(200)} if given else {}
    case = case_of(lambda model: Seeing(), eps=0.1, **changes)
    train_twin(case, same=True, model_labels=False)
    x = case.training[0] if given else case.x
    points = torch.cat(Seeing.shown).flatten(1)
    nearest = torch.cdist(points, x.flatten(1), p=torch.inf).amin(1)
    assert len(points) == len(Seeing.shown) * min(128, len(x))
    assert nearest.eq(0).all() if given else nearest.gt(0).all()
    assert nearest.max() <= 0.1 + 1e-6
