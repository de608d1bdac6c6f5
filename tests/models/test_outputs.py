from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn

import narrows
from narrows.attacks import FGSM
from narrows.errors import InputError
from narrows.models.outputs import as_output, average_logits, logits_of, pack, unpack
from narrows.types import Latent, ModelOutput


def test_averaged_logits_are_the_log_of_the_mean_softmax():
    logits = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).double()
    expected = logits.softmax(-1).mean((0, 1)).log()
    torch.testing.assert_close(average_logits(logits), expected)


def test_averaged_logits_survive_probabilities_that_underflow():
    logits = torch.tensor([[[1000.0, 0.0]], [[0.0, 1000.0]]])
    torch.testing.assert_close(average_logits(logits), torch.full((1, 2), 0.5).log())


def test_logits_of_one_draw_are_left_alone():
    logits = torch.randn(4, 5)
    assert average_logits(logits) is logits


def test_logits_of_a_model_that_draws_are_averaged():
    logits = torch.randn(3, 2, 4)

    class Drawing(nn.Module):
        def forward(self, x):
            return ModelOutput(logits)

    torch.testing.assert_close(logits_of(Drawing(), torch.zeros(2, 1)), average_logits(logits))


@pytest.mark.parametrize(
    ("result", "message"),
    [(torch.zeros(3), r"got shape \(3,\)"), ({"logits": 1}, "got dict"), (None, "got NoneType")],
)
def test_what_is_no_output_of_a_classifier_is_refused(result, message):
    with pytest.raises(InputError, match=message):
        as_output(result)


@pytest.mark.parametrize("latent", [None, (2, False), (2, True)])
def test_an_output_survives_packing(latent):
    z = torch.randn(2, 3)
    given = Latent(z, z + 1, z + 2 if latent[1] else None) if latent else None
    activations = {"layer4.0.conv": torch.ones(2), "aib.selected": torch.zeros(2)}
    output = ModelOutput(torch.randn(2, 5), given, activations)
    again = unpack(pack(output))
    assert again.logits is output.logits
    assert again.activations == activations
    assert (again.latent is None) == (given is None)
    if given:
        assert all(a is b for a, b in zip(again.latent, given, strict=True))


def test_packed_parts_are_all_tensors():
    z = torch.randn(2, 3)
    parts = pack(ModelOutput(torch.randn(2, 5), Latent(z, z)))
    assert list(parts) == ["logits", "latent.z", "latent.mean"]


@dataclass
class HuggingFace:
    """An output with named parts, as of `transformers`."""

    logits: torch.Tensor
    loss: None = None


class Inception(NamedTuple):
    """The logits and those of an auxiliary classifier, as of torchvision."""

    logits: torch.Tensor
    aux_logits: torch.Tensor


class Returns(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.layer, self.make = nn.Linear(4, 3), make

    def forward(self, x):
        return self.make(self.layer(x))


@pytest.mark.parametrize(
    ("make", "picks"),
    [
        (lambda z: HuggingFace(z), "'logits'"),
        (lambda z: Inception(z, z + 1), "'logits'"),
        (lambda z: OrderedDict(logits=z, loss=None), "'logits'"),
        (lambda z: {"loss": z.sum(), "out": z}, "'out'"),
        (lambda z: (z, z[:, :2]), "0"),
        (lambda z: [z.sum(), z], "1"),
        (lambda z: (z, None, {"features": z}), "0"),
    ],
)
def test_where_the_logits_are_inside_the_error_shows_a_call_that_works(make, picks):
    model, x, y = Returns(make), torch.rand(6, 4), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(InputError, match=r"; write narrows\.adapt") as caught:
        FGSM(eps=0.1)(model, x, y)
    _, _, call = str(caught.value).partition("; write ")
    assert call == f"narrows.adapt(model, logits={picks})"
    wrapped = eval(call, {"narrows": narrows, "model": model})
    assert torch.equal(wrapped(x).logits, model.layer(x))
    assert FGSM(eps=0.1)(wrapped, x, y).x_adv.shape == x.shape


def test_one_score_an_image_is_told_what_it_is_of_two():
    with pytest.raises(InputError, match="for one score per image, that of the second"):
        as_output(torch.zeros(8))


@pytest.mark.parametrize("result", [(), {}, ("a", 3), {"loss": torch.zeros(())}, object()])
def test_what_holds_no_logits_gets_no_call(result):
    with pytest.raises(InputError, match=r"got \w+$"):
        as_output(result)
