import copy

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import tap
from narrows.models.convolution import conv, linear, normalisation, shrink_branches
from narrows.models.hidden import hidden_layers
from narrows.models.preact_resnet import PreActResNet
from narrows.models.resnet import ResNet18
from narrows.models.vgg import VGG16
from narrows.models.wide_resnet import wide_resnet

# Each with the layers that its docstring names and the least side of an image.
NETWORKS = {
    "vgg16": (VGG16, {}, ["block1", "block5", "fc1", "fc2"], 32),
    "resnet18": (ResNet18, {}, ["layer1", "layer4"], 8),
    "resnet18, imagenet": (ResNet18, {"stem": "imagenet"}, ["layer1", "layer4"], 32),
    "preact_resnet18": (PreActResNet, {}, ["layer1", "layer4"], 8),
    "wide_resnet": (wide_resnet, {"depth": 10, "width": 1}, ["layer1", "layer3"], 4),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    build, options, layers, least = NETWORKS[request.param]
    torch.manual_seed(0)
    return build((2, least, least + 1), 7, **options), layers, least


def test_outputs_layers_and_gradients(network):
    model, layers, least = network
    x = torch.rand(3, 2, least, least + 1)
    output = tap(model, [*layers, *hidden_layers(model)[-2:]])(x)
    assert output.logits.shape == (3, 7)
    assert all(len(output.activations[name]) == 3 for name in layers)
    output.logits.logsumexp(1).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    model.zero_grad()


def test_states_and_copies_give_the_same_outputs(network):
    model, _, least = network
    x = torch.rand(3, 2, least, least + 1)
    model.eval()
    wanted = model(x)
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    assert not torch.equal(other(x), wanted)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), wanted)
    model.train()


def test_a_repr_shows_the_layers(network):
    model, layers, _ = network
    assert all(f"({name})" in repr(model) for name in [*layers, "normalise"])
    assert "mean=0.5, std=0.5" in repr(model)


@pytest.mark.parametrize("name", NETWORKS)
def test_images_that_are_none_or_too_small_are_refused(name):
    build, options, _, least = NETWORKS[name]
    with torch.device("meta"):
        with pytest.raises(ConfigError, match=rf"are too small.*at least {least} a side"):
            build((3, least, least - 1), 7, **options)
        with pytest.raises(ConfigError, match=r"needs images \[channels, height, width\], got in"):
            build((64,), 7, **options)
        with pytest.raises(ConfigError, match="unknown normalisation 'bach'; did you mean 'batch'"):
            build((3, least, least), 7, **options, norm="bach")


@pytest.mark.parametrize("name", ["resnet18", "preact_resnet18", "wide_resnet"])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_outputs_start_of_order_one_with_any_normalisation(name, norm):
    build, options, _, _ = NETWORKS[name]
    torch.manual_seed(0)
    model = build((3, 16, 16), 10, **options, norm=norm)
    assert 0.1 < model(torch.rand(32, 3, 16, 16)).std().item() < 3
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == (norm == "batch")
    assert any(isinstance(m, nn.GroupNorm) for m in model.modules()) == (norm == "group")
    biased = [m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert set(biased) == {norm == "none"}


@pytest.mark.parametrize("name", NETWORKS)
def test_normalisation_can_be_left_to_others(name):
    build, options, _, least = NETWORKS[name]
    torch.manual_seed(0)
    model = build((3, least, least), 7, **options).eval()
    x = torch.rand(2, 3, least, least)
    wanted = model(x)
    model.normalise = nn.Identity()
    torch.testing.assert_close(model(2 * x - 1), wanted)


def test_first_weights():
    torch.manual_seed(0)
    layer = conv(64, 96)
    assert layer.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert not layer.bias.any()
    assert layer(torch.rand(1, 64, 5, 6)).shape == (1, 96, 5, 6)
    dense = linear(300, 200)
    assert dense.weight.abs().max() <= (6 / 500) ** 0.5
    assert not dense.bias.any()


def test_groups_divide_the_channels():
    assert [normalisation("group", n).num_groups for n in (16, 48, 64, 160)] == [16, 16, 32, 32]


def test_branches_shrink_by_the_root_of_their_number():
    layers = [nn.Conv2d(1, 1, 1) for _ in range(4)]
    before = [layer.weight.detach().clone() for layer in layers]
    shrink_branches(layers)
    for layer, old in zip(layers, before, strict=True):
        torch.testing.assert_close(layer.weight.detach(), old / 2)
