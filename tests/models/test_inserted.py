import copy

import pytest
import torch
from torch import nn

from narrows import insert_bottleneck
from narrows.errors import ConfigError, InputError
from narrows.methods import AIB, CEB, NIB, VIB
from narrows.models import as_classifier, latent_mode
from narrows.models.bottleneck import resting_mode
from narrows.models.resnet import ResNet18
from narrows.models.vgg import VGG16

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])

NETWORKS = {
    "resnet18": lambda: ResNet18((3, 32, 32), 3, norm="group", width=1 / 16),
    "vgg16": lambda: VGG16((3, 32, 32), 3, norm="none", width=1 / 32),
    "sequential": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 9), nn.ReLU(), nn.Linear(9, 3)
    ),
    "nested": lambda: nn.Sequential(NETWORKS["resnet18"]()),
}
# One that returns [n, C, 1, 1], ones of [n, C, H, W] and of [n, C], and one inside a skip.
PLACES = [
    ("resnet18", "avgpool"),
    ("resnet18", "layer3"),
    ("resnet18", "layer1.0.conv1"),
    ("vgg16", "block5"),
    ("vgg16", "fc1"),
    ("vgg16", "features.3"),
    ("sequential", "1"),
    ("nested", "0.avgpool"),
]
METHODS = {
    VIB: lambda: VIB(0.01),
    CEB: lambda: CEB(0.1, 5, 3),
    NIB: lambda: NIB(0.1),
    AIB: lambda: AIB(0.1, 3072, 5),
}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("network", "at"), PLACES)
def test_it_can_be_trained_behind_any_layer_of_any_network(network, at, kind):
    model = insert_bottleneck(NETWORKS[network](), at, width=5, latent=kind.latent)
    optimiser = torch.optim.SGD(model.parameters(), 0.01)  # before the widths are known
    before = {}
    for _ in range(2):
        loss = METHODS[kind]()(model, IMAGES, LABELS)
        before = before or {k: p.detach().clone() for k, p in model.named_parameters()}
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(before[name], p)}
    assert {name for name in before if name.startswith("bottleneck")} <= moved


@pytest.mark.parametrize(("network", "at"), PLACES)
def test_draws_have_an_axis_of_their_own_and_the_mean_none(network, at):
    torch.manual_seed(0)
    model = insert_bottleneck(NETWORKS[network](), at, width=5, example=IMAGES).eval()
    assert resting_mode(model) == ("mean", None)
    with latent_mode(model, "mean"):
        rest = model(IMAGES)
        assert torch.equal(model(IMAGES).logits, rest.logits)
    for _ in range(2):
        with latent_mode(model, "sample", 3):
            output = model(IMAGES)
        assert output.logits.shape == (3, 4, 3)
        assert output.latent.z.shape == (3, 4, 5)
        torch.testing.assert_close(output.latent.mean, rest.latent.mean)
        assert not torch.equal(output.logits[0], output.logits[1])
    # Without noise each draw is what the mean gives.
    with torch.no_grad():
        encoder = model.bottleneck.encoder[1]
        encoder.weight[5:], encoder.bias[5:] = 0, -1000
        torch.testing.assert_close(as_classifier(model, samples=3)(IMAGES), as_rest(model))


def as_rest(model: nn.Module) -> torch.Tensor:
    return as_classifier(model, mode="mean")(IMAGES).log_softmax(-1)


def test_the_network_is_shared_and_left_without_hooks():
    net = NETWORKS["sequential"]()
    model = insert_bottleneck(net, at="2", width=5)
    model(IMAGES)
    assert net[1].weight is model.model[1].weight
    assert not any(module._forward_hooks for module in net.modules())


def test_its_weights_go_into_one_that_has_not_run_yet():
    model = insert_bottleneck(NETWORKS["sequential"](), at="2", width=5, example=IMAGES.numpy())
    fresh = insert_bottleneck(NETWORKS["sequential"](), at="2", width=5)
    fresh.load_state_dict(model.state_dict())
    with latent_mode(model, "mean"), latent_mode(fresh, "mean"):
        assert torch.equal(model(IMAGES).logits, copy.deepcopy(fresh)(IMAGES).logits)
    assert "at='2'" in repr(fresh)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
        self.rnn = nn.LSTM(4, 4)

    def forward(self, x):
        return self.layer(self.layer(self.rnn(x)[0]))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("layer", "runs its layer 'layer' more than once"),
        ("unused", "never runs its layer 'unused'"),
        ("rnn", "layer 'rnn' returns tuple, not a tensor"),
    ],
)
def test_layers_that_no_latent_can_stand_behind_are_named(at, message):
    with pytest.raises(InputError, match=message):
        insert_bottleneck(Twice(), at)(torch.rand(3, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": "avgpol"}, "no layer 'avgpol'; nearest: avgpool"),
        ({"latent": "gausian"}, "latent must be one of"),
        ({"width": 0}, "width must be at least 1"),
        ({"width": 2.5}, "width must be a whole number"),
    ],
)
def test_bottlenecks_that_cannot_be_built_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        insert_bottleneck(NETWORKS["resnet18"](), **arguments)


@pytest.mark.parametrize("kind", [VIB, CEB, NIB])
def test_what_the_error_says_to_write_works(kind):
    net = NETWORKS["sequential"]()
    with pytest.raises(InputError, match="insert_bottleneck") as raised:
        METHODS[kind]()(net, IMAGES, LABELS)
    call = str(raised.value).split("or ")[1].split(" on a network")[0]
    made = eval(call.replace("'layer name'", "'2', width=5"), {"model": net} | globals())
    assert torch.isfinite(METHODS[kind]()(made, IMAGES, LABELS))
