"""One model, and a stack of them, seen through the same interface."""

import pytest
import torch
from torch import nn

from narrows import AIB, Bottleneck, CrossEntropy
from narrows.data import Dataset
from narrows.errors import CheckpointError
from narrows.training import Objective, Solo, Stacked, accuracies


def objective(seed=0, method=None, encoder=None) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = encoder() if encoder else nn.Linear(4, 3)
        return Objective(Bottleneck(encoder, nn.Linear(3, 2)), method or CrossEntropy())


def aib(**keywords) -> AIB:
    return AIB(**{"beta": 0.1, "inputs": 4, "latent": 3, "hidden": (5,), **keywords})


class Buffered(nn.Module):
    """A tied weight and a buffer that no state dict holds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.last = nn.Linear(4, 3)
        self.register_buffer("shift", torch.rand(1), persistent=False)

    def forward(self, x):
        return self.last(self.second(self.first(x)) + self.shift)


@pytest.mark.parametrize("solo", [True, False])
def test_tied_weights_and_buffers_outside_the_state_dict_are_kept(solo):
    first, second = (objective(seed, encoder=Buffered) for seed in (0, 1))
    members = Solo(second, 0) if solo else Stacked([first, second], [0, 1])
    cut = members.member(len(members) - 1).model.encoder
    assert cut.first.weight is cut.second.weight
    assert torch.equal(cut.first.weight, second.model.encoder.first.weight)
    assert torch.equal(cut.shift, second.model.encoder.shift)
    x = torch.rand(6, 4)
    torch.testing.assert_close(
        members.run("predict", x, shared=True)[-1], second.model(x).logits.detach()
    )


@pytest.mark.parametrize("solo", [True, False])
def test_weights_that_a_user_froze_stay_frozen(solo):
    made = objective(0, aib())
    made.model.encoder.requires_grad_(False)
    members = Solo(made, 0) if solo else Stacked([made], [0])
    trained = members.parameters(critic=False)
    assert len(trained) == 2
    critics = members.parameters(critic=True)
    assert len(critics) == len(list(made.method.critic_parameters()))


def test_accuracies_are_those_of_each_member_whatever_the_block():
    kept = [objective(seed) for seed in range(3)]
    x = torch.rand(50, 4)
    data = Dataset("toy", x, torch.randint(2, (50,)), 2)
    slow = [(o.model(x).logits.argmax(1) == data.y).double().mean().item() for o in kept]
    stack = Stacked(kept, [0, 1, 2])
    assert accuracies(stack, data).tolist() == slow
    assert accuracies(stack, data, block=7).tolist() == slow
    assert accuracies(Solo(kept[1], 1), data).tolist() == slow[1:2]


def test_loading_names_what_does_not_fit_and_copies_nothing_then():
    members = Solo(objective(), 0)
    before = {name: tensor.clone() for name, tensor in members.named_tensors().items()}
    other = {name: tensor + 1 for name, tensor in before.items()}
    name = "model.encoder.weight"
    for changed, message in (
        ({k: v for k, v in other.items() if k != name}, f"{name}' is missing in the checkpoint"),
        ({**other, "extra": torch.zeros(1)}, "'extra' is missing in the model"),
        ({**other, name: torch.zeros(1, 3, 5)}, r"shape \(1, 3, 5\) .* \(1, 3, 4\) in the model"),
    ):
        with pytest.raises(CheckpointError, match=message):
            members.load(changed)
        assert all(torch.equal(v, before[k]) for k, v in members.named_tensors().items())
    members.load(other)
    assert all(torch.equal(v, other[k]) for k, v in members.named_tensors().items())
