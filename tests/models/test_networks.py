from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import NETWORKS, NetworkConfig, build_network
from narrows.models.binary_stochastic import BinaryStochasticNet
from narrows.models.bottleneck import latent_mode
from narrows.models.gaussian import LatentKind
from narrows.models.mlp import Normalise


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def dense(*widths: int) -> int:
    return sum((a + 1) * b for a, b in pairwise(widths))


def test_the_network_of_vib_has_the_papers_size():
    config = NetworkConfig(encoder=[1024, 1024], bottleneck=256, decoder=[])
    model = build_network(config, (1, 28, 28), 10, "gaussian")
    assert count(model) == dense(784, 1024, 1024, 512) + dense(256, 10) == 2_380_810
    output = model(torch.rand(2, 1, 28, 28))
    assert output.logits.shape == (2, 10)
    assert output.latent.scale.shape == (2, 256)


def test_the_network_of_aib_has_the_papers_size():
    config = NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128])
    model = build_network(config, (1, 28, 28), 10, "deterministic")
    assert count(model) == dense(784, 128, 128, 10) + dense(10, 128, 10) == 120_980
    assert model(torch.rand(2, 1, 28, 28)).latent.z.shape == (2, 10)


def test_the_convolutional_network_of_aib_has_the_papers_shapes():
    config = NetworkConfig(name="cnn", encoder=[32, 64], bottleneck=64, decoder=[128])
    model = build_network(config, (1, 28, 28), 10, "deterministic")
    shapes = []
    x = torch.rand(2, 1, 28, 28)
    for layer in model.encoder:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (1, 28, 28),  # normalised
        *[(32, 26, 26)] * 2,
        *[(64, 24, 24)] * 2,
        (64, 12, 12),
        (9216,),
        (64,),
    ]
    assert count(model.decoder) == dense(64, 128, 10)


DEEP = ["vgg16", "resnet18", "preact_resnet18", "wide_resnet"]


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - set(DEEP)))
@pytest.mark.parametrize("latent", get_args(LatentKind))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7)])
def test_small_networks_take_images_of_any_size(name, latent, shape):
    model = build_network(NetworkConfig(name, [4], 3, [5]), shape, 6, latent)
    output = model(torch.rand(2, *shape))
    assert output.logits.shape == (2, 6)
    assert output.latent.z.shape == (2, 3)


@pytest.mark.parametrize("name", DEEP)
def test_deep_networks_are_encoders_of_a_bottleneck(name):
    config = NetworkConfig(name, bottleneck=3, decoder=[5], norm="group", depth=10, width=1)
    assert config.encoder == []
    model = build_network(config, (1, 32, 40), 6, "gaussian")
    output = model(torch.rand(2, 1, 32, 40))
    assert output.logits.shape == (2, 6)
    assert output.latent.scale.shape == (2, 3)
    assert any(isinstance(module, nn.GroupNorm) for module in model.encoder.modules())


def test_the_network_of_the_reevaluation_on_cifar10():
    """Korshunova et al. (2021), appendix: PreActResNet-18, then the MLP of MNIST."""
    config = NetworkConfig("preact_resnet18", encoder=[1024, 1024], bottleneck=256)
    with torch.device("meta"):
        model = build_network(config, (3, 32, 32), 10, "gaussian")
    trunk = 11_172_170 - dense(512, 10)
    assert count(model) == trunk + dense(512, 1024, 1024, 512) + dense(256, 10)


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (NetworkConfig("mlp", [8], 0, [5]), ["2", "4", "6"]),
        (NetworkConfig("cnn", [4], 0, [5]), ["1", "5", "7"]),
        (NetworkConfig("resnet18", [], 0, []), ["layer4", "fc"]),
        (NetworkConfig("wide_resnet", [8], 0, depth=10, width=1), ["0.layer3", "0.linear", "2"]),
    ],
)
def test_without_a_bottleneck_it_is_a_plain_classifier(config, layers):
    model = build_network(config, (3, 8, 8), 6)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 6)
    for name in layers:
        assert any(True for _ in model.get_submodule(name).parameters())


@pytest.mark.parametrize("latent", ["gaussian", "unit", "shared", "full"])
def test_a_method_that_needs_a_latent_says_what_to_set(latent):
    config = NetworkConfig("mlp", bottleneck=0)
    message = f"has no latent, and the method trains a {latent} one; set network.bottleneck"
    with pytest.raises(ConfigError, match=message):
        build_network(config, (4,), 3, latent)


def test_a_binary_network_has_its_last_layer_for_a_latent():
    config = NetworkConfig("binary", encoder=[6, 4])
    assert config.bottleneck == 4
    model = build_network(config, (1, 2, 3), 5, "binary")
    assert isinstance(model, BinaryStochasticNet)
    assert model.hidden == (6, 4)
    assert model(torch.rand(2, 1, 2, 3)).latent.z.shape == (2, 4)
    model.mode = "mean"
    x = torch.rand(2, 1, 2, 3)
    plain = build_network(replace(config, normalise=False), (1, 2, 3), 5, "binary")
    plain.load_state_dict(model.state_dict())
    plain.mode = "mean"
    assert torch.equal(plain(2 * x - 1).logits, model(x).logits)


def test_a_method_that_draws_nothing_gets_the_binary_networks_twin():
    config = NetworkConfig("binary", encoder=[6, 4])
    binary = build_network(config, (1, 2, 3), 5, "binary")
    twin = build_network(config, (1, 2, 3), 5, "deterministic")
    assert not isinstance(twin, BinaryStochasticNet)
    twin.load_state_dict(dict(zip(twin.state_dict(), binary.state_dict().values(), strict=True)))
    x = torch.rand(2, 1, 2, 3)
    with latent_mode(binary, "mean"):
        torch.testing.assert_close(twin(x).logits, binary(x).logits)
    assert torch.equal(twin(x).logits, twin(x).logits)


def test_coins_and_other_latents_do_not_mix():
    with pytest.raises(ConfigError, match="binary stochastic layers, which cnn does not have; set"):
        build_network(NetworkConfig("cnn"), (1, 8, 8), 5, "binary")
    with pytest.raises(ConfigError, match="its latents, and the method trains a gaussian one"):
        build_network(NetworkConfig("binary"), (1, 8, 8), 5, "gaussian")


def test_widths_that_are_not_given_are_the_networks_own():
    found = {name: NetworkConfig(name) for name in [*NETWORKS, "binary"]}
    assert (found["mlp"].encoder, found["mlp"].decoder) == ([128, 128], [128])
    assert (found["lenet"].encoder, found["lenet"].decoder) == ([32, 64], [1024])
    assert (found["vgg16"].encoder, found["vgg16"].decoder) == ([], [])
    assert found["binary"].bottleneck == 512
    found["mlp"].encoder.append(3)
    assert NetworkConfig("mlp").encoder == [128, 128]


def test_hidden_layers_may_be_left_out():
    config = NetworkConfig(encoder=[], bottleneck=2, decoder=[], normalise=False)
    model = build_network(config, (2,), 3, "deterministic")
    x = torch.rand(4, 2)
    first, last = (next(m for m in part if isinstance(m, nn.Linear)) for part in model.children())
    torch.testing.assert_close(model(x).logits, last(first(x)))


def test_inputs_are_normalised_inside_the_model():
    x = torch.tensor([[0.0, 0.5, 1.0]])
    assert Normalise()(x).tolist() == [[-1.0, 0.0, 1.0]]
    config = NetworkConfig(encoder=[], bottleneck=2, decoder=[])
    assert isinstance(build_network(config, (3,), 2, "deterministic").encoder[0], Normalise)


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        ({"name": "cnm"}, (1, 8, 8), "unknown network 'cnm'; did you mean 'cnn'"),
        ({"bottleneck": -1}, (4,), "widths of a network must lie in 1"),
        ({"norm": "layer"}, (4,), "unknown network.norm 'layer'.*Valid: batch, group, none"),
        ({"stem": "cifat"}, (4,), "unknown network.stem 'cifat'; did you mean 'cifar'"),
        ({"dropout": 1.0}, (4,), r"network.dropout must lie in \[0, 1\), got 1.0"),
        (
            {"channel_share": 0.5},
            (4,),
            "network.channel_share is a setting of vgg16, .* network is mlp",
        ),
        ({"name": "resnet18", "channel_share": 0}, (4,), "channel_share must be .*larger than 0"),
        ({"name": "resnet18", "fc_norm": True}, (3, 8, 8), "network.fc_norm is a setting of vgg16"),
        (
            {"latent_activation": "rel"},
            (4,),
            "unknown latent activation 'rel'; did you mean 'relu'",
        ),
        ({"latent_activation": "relu", "latent": "unit"}, (4,), "a unit latent has no activation"),
        ({"latent_activation": "relu", "bottleneck": 0}, (4,), "this network has none"),
        ({"name": "wide_resnet", "depth": 27}, (3, 8, 8), "depth of 10, 16"),
        ({"decoder": [3, -1]}, (4,), "widths of a network must lie in 1"),
        ({"encoder": [10**18]}, (4,), r"must lie in 1\.\.1,000,000,000"),
        ({"bottleneck": 2**63}, (4,), r"must lie in 1\.\.1,000,000,000"),
        ({"name": "cnn"}, (64,), r"needs images \[channels, height, width\], got inputs \(64,\)"),
        ({"name": "cnn", "encoder": []}, (1, 8, 8), "at least one convolution"),
        ({"name": "cnn", "encoder": [2] * 3}, (1, 7, 9), "7x9 are too small for cnn; at least 8"),
        ({"name": "cnn", "encoder": [2] * 5}, (1, 4, 4), "4x4 are too small"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(config, shape, message):
    with pytest.raises(ConfigError, match=message):
        build_network(NetworkConfig(**config), shape, 10, "deterministic")


def test_the_configuration_may_ask_for_another_latent_than_the_method():
    config = NetworkConfig(encoder=[4], bottleneck=3, decoder=[], latent="unit")
    assert build_network(config, (5,), 2, "gaussian").latent == "unit"
    assert build_network(NetworkConfig(), (5,), 2, "gaussian").latent == "gaussian"
    with pytest.raises(ConfigError, match="unknown latent 'untit'; did you mean 'unit'"):
        NetworkConfig(latent="untit")


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "preact_resnet18"])
def test_a_share_of_the_channels_makes_the_same_network_smaller(name):
    x = torch.rand(2, 3, 32, 32)
    for share in (1 / 16, 1 / 64):
        config = NetworkConfig(name, bottleneck=0, channel_share=share)
        small, whole = (
            build_network(given, (3, 32, 32), 10)
            for given in (config, NetworkConfig(name, bottleneck=0))
        )
        assert [label for label, _ in small.named_parameters()] == [
            label for label, _ in whole.named_parameters()
        ]
        for (label, p), q in zip(small.named_parameters(), whole.parameters(), strict=True):
            wanted = [
                side if side in (3, 10) or n > 1 else side * share for n, side in enumerate(q.shape)
            ]
            assert list(p.shape) == [max(1, round(side)) for side in wanted], label
        assert small(x).shape == (2, 10)


def test_a_deterministic_latent_may_be_rectified():
    config = NetworkConfig(encoder=[8], bottleneck=3, decoder=[], latent_activation="relu")
    torch.manual_seed(0)
    model = build_network(config, (4,), 2)
    torch.manual_seed(0)
    plain = build_network(NetworkConfig(encoder=[8], bottleneck=3, decoder=[]), (4,), 2)
    x = torch.rand(5, 4)
    assert torch.equal(model(x).latent.z, plain(x).latent.z.relu())
    assert torch.equal(model(x).logits, plain.decoder(plain(x).latent.z.relu()))
    assert "activation='relu'" in repr(model)
    with pytest.raises(ConfigError, match="a gaussian latent has no activation"):
        build_network(config, (4,), 2, "gaussian")
