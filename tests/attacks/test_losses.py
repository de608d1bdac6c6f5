import pytest
import torch

from narrows.attacks.losses import LOSSES, cross_entropy, margin, resolve_loss
from narrows.errors import ConfigError

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.5]])


def test_margin_is_the_lead_of_the_best_other_class():
    assert margin(LOGITS, torch.tensor([0, 2])).tolist() == [-1.0, 0.5]


def test_cross_entropy_is_the_negative_log_likelihood_of_each():
    labels = torch.tensor([0, 2])
    expected = -LOGITS.softmax(1).gather(1, labels[:, None]).squeeze(1).log()
    torch.testing.assert_close(cross_entropy(LOGITS, labels), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_an_image(name):
    assert resolve_loss(name)(LOGITS, torch.tensor([1, 1])).shape == (2,)


def test_unknown_loss_names_the_known():
    with pytest.raises(ConfigError, match=r"unknown attack loss 'crossentropy'.*cross_entropy"):
        resolve_loss("crossentropy")
