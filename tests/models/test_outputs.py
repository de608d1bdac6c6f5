import pytest
import torch
from torch import nn

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
