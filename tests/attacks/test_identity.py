import warnings

import torch
from torch import nn

from narrows.attacks.identity import Behaviour, digest
from scenarios_attacks import NoisyInput, curved_case

X, Y = torch.full((4, 1, 2, 2), 0.5), torch.tensor([0, 1, 2, 0])


def test_quantised_layers_are_told_apart():
    def quantised(seed):
        torch.manual_seed(seed)
        layer = nn.Linear(200, 40)
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, same, other = (quantised(seed) for seed in (0, 0, 1))
        scale = one[0].weight().q_scale() if one[0].weight().qscheme() else 0
    assert digest(X, Y, one) == digest(X, Y, same) != digest(X, Y, other), scale


def test_the_digest_knows_images_labels_targets_weights_and_structure():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layer, other = nn.Linear(4, 3), nn.Linear(4, 3)
    cases = [
        (X, Y, layer),
        (X + 0.1, Y, layer),
        (X.double(), Y, layer),
        (X.view(4, 4), Y, layer),
        (X, Y.flip(0) + 1, layer),
        (X, Y, other),
        (X, Y, nn.Sequential(layer)),
        (X, Y, None),
        (X, Y, layer, Y + 1),
    ]
    assert len({digest(*case) for case in cases}) == len(cases)
    assert digest(X, Y.to(torch.uint8), layer) == digest(X.clone(), Y, layer)


def test_behaviour_is_that_of_the_same_function_only():
    model, x, _ = curved_case()
    behaviour = Behaviour.of(model, x)
    assert behaviour.is_that_of(model, x) is True
    model.last.bias.data += 0.01 * behaviour.logits.abs().max()
    assert behaviour.is_that_of(model, x) is False
    smaller = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    assert behaviour.is_that_of(smaller, x) is False


class OwnNoise(nn.Module):
    """Noise from a generator that no global seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        noise = torch.rand(len(x), 3, generator=self.generator)
        return x.flatten(1).sum(1, keepdim=True) + noise


def test_of_noise_that_a_seed_does_not_fix_nothing_is_said():
    model, x, _ = curved_case()
    noisy = NoisyInput(model, 0.5)
    assert Behaviour.of(noisy, x).is_that_of(noisy, x) is True
    own = OwnNoise()
    assert Behaviour.of(own, x).is_that_of(own, x) is None


def test_a_model_and_the_generators_are_left_as_they_were():
    model, x, _ = curved_case()
    before = {name: part.clone() for name, part in model.state_dict().items()}
    state = torch.get_rng_state()
    Behaviour.of(model, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(before[name], part) for name, part in model.state_dict().items())
