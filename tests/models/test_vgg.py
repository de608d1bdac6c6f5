import pytest
import torch
from torch import nn

from narrows.models import tap
from narrows.models.hidden import hidden_layers
from narrows.models.networks import NetworkConfig, build_network
from narrows.models.vgg import VGG16

# Where torchvision's vgg16_bn and vgg16 have their convolutions.
CONVOLUTIONS = {
    "batch": [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40],
    "none": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


# The first two are torchvision's own numbers.
@pytest.mark.parametrize(
    ("arguments", "options", "parameters"),
    [
        (((3, 224, 224), 1000), {"stem": "imagenet"}, 138_365_992),
        (((3, 224, 224), 1000), {"stem": "imagenet", "norm": "none"}, 138_357_544),
        (((3, 32, 32), 10), {"norm": "none"}, 14_714_688 + 513 * 4096 + 4097 * 4096 + 4097 * 10),
    ],
)
def test_number_of_parameters(arguments, options, parameters):
    with torch.device("meta"):
        assert count(VGG16(*arguments, **options)) == parameters


@pytest.mark.parametrize("norm", CONVOLUTIONS)
def test_parameters_have_the_names_of_torchvision(norm):
    with torch.device("meta"):
        model = VGG16((3, 32, 32), 10, norm=norm)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = [name for name, shape in shapes.items() if len(shape) == 4]
    assert found == [f"features.{place}.weight" for place in CONVOLUTIONS[norm]]
    dense = [name for name, shape in shapes.items() if len(shape) == 2]
    assert dense == ["classifier.0.weight", "classifier.3.weight", "classifier.6.weight"]
    assert {name.split(".")[0] for name in shapes} == {"features", "classifier"}
    assert ("features.1.running_var" in shapes) == (norm == "batch")


def test_the_layers_of_ib_rar_can_be_read():
    torch.manual_seed(0)
    model = VGG16((3, 32, 32), 10, norm="none", dropout=0.3).eval()
    names = [f"block{n}" for n in range(1, 6)] + ["fc1", "fc2"]
    output = tap(model, names)(torch.rand(2, 3, 32, 32))
    assert [tuple(output.activations[name].shape[1:]) for name in names] == [
        *((64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)),
        *((4096,), (4096,)),
    ]
    last = model.classifier[-1]
    torch.testing.assert_close(last(output.activations["fc2"]), output.logits)
    first = model.classifier[0](output.activations["block5"].flatten(1)).relu()
    torch.testing.assert_close(first, output.activations["fc1"])
    assert hidden_layers(model)[-2:] == ["fc1", "fc2"]
    assert len(hidden_layers(model)) == 15


def test_larger_images_have_more_features():
    with torch.device("meta"):
        assert VGG16((1, 64, 96), 200).classifier[0].in_features == 512 * 2 * 3
        assert VGG16((1, 64, 96), 200, stem="imagenet").classifier[0].in_features == 512 * 49


def test_dropout_follows_the_dense_layers_only():
    with torch.device("meta"):
        model = VGG16((3, 32, 32), 10, dropout=0.3)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]


def test_dense_layers_may_be_normalised_before_their_activation():
    net = VGG16((3, 32, 32), 10, fc_norm=True, width=1 / 16)
    kinds = [type(layer).__name__ for layer in net.classifier]
    assert kinds == [*["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2, "Linear"]
    assert net.classifier[2] is net.fc1
    read = tap(net, ["fc1", "fc2"])(torch.rand(8, 3, 32, 32)).activations
    assert {layer.shape for layer in read.values()} == {(8, 256)}
    x = torch.rand(8, 3, 32, 32)
    read = tap(net, ["block5", "fc1"])(x).activations
    raw = net.classifier[0](read["block5"].flatten(1))
    by_hand = (raw - raw.mean(0)) / (raw.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(read["fc1"], by_hand.relu(), rtol=1e-4, atol=1e-5)
    plain = VGG16((3, 32, 32), 10, width=1 / 16)
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in plain.modules())


def test_a_configuration_reaches_the_network_of_ib_rar_at_a_quarter_of_its_width():
    settings = {"fc_norm": True, "normalise": False, "channel_share": 0.25}
    with torch.device("meta"):
        net = build_network(NetworkConfig("vgg16", [], 0, [], **settings), (3, 32, 32), 10)
    assert isinstance(net.normalise, nn.Identity)
    assert [
        layer.num_features for layer in net.classifier if isinstance(layer, nn.BatchNorm1d)
    ] == [
        1024,
        1024,
    ]
    assert net.classifier[0].in_features == 128
