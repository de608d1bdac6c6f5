import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import Bottleneck, NetworkConfig, build_network
from narrows.models.inserted import InsertedBottleneck

NETWORKS = """
import math
from torch import nn
from narrows import Bottleneck

def plain(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.ReLU(),
                         nn.Linear(8, classes))

def coded(shape, classes, latent):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 4))
    return Bottleneck(encoder, nn.Linear(4 if latent == "deterministic" else 2, classes),
                      latent=latent)

def lazy(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

def branching(shape, classes):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plain(shape, classes)
        def forward(self, x):
            return self.inner(x) if x.sum().item() > -1 else x
    return Branching()

def other_classes(shape, classes):
    return plain(shape, classes + 1)

def other_shape(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3, classes))

def pairs(shape, classes):
    class Pairs(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), classes), 0
    return Pairs()

def nothing(shape, classes):
    return None
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "net.py").write_text(NETWORKS)
    return lambda name, **settings: NetworkConfig(f"{tmp_path}/net.py:{name}", **settings)


def build(config, latent="deterministic"):
    return build_network(config, (1, 4, 4), 3, latent)


def test_a_classifier_is_taken_as_it_is_where_no_latent_is_needed(config):
    assert isinstance(build(config("plain")), nn.Sequential)
    assert build(config("lazy"))(torch.zeros(2, 1, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize("latent", ["deterministic", "gaussian", "unit"])
def test_a_latent_is_inserted_where_it_is_named(config, latent):
    model = build(config("plain", at="2", bottleneck=5), latent)
    assert isinstance(model, InsertedBottleneck)
    assert model(torch.zeros(2, 1, 4, 4)).latent.mean.shape == (2, 5)


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
def test_a_bottleneck_is_taken_as_it_is_and_may_know_the_latent(config, latent):
    model = build(config("coded"), latent)
    assert isinstance(model, Bottleneck)
    assert model.latent == latent


@pytest.mark.parametrize(
    ("name", "settings", "latent", "message"),
    [
        ("plain", {}, "gaussian", r"trains a gaussian latent.*network.at=2 \(layers: 0, 1, 2, 3\)"),
        ("plain", {}, "binary", "needs a BinaryStochasticNet"),
        ("plain", {"at": "2"}, "binary", "cannot be inserted"),
        ("plain", {"at": "fc"}, "gaussian", "fc"),
        ("coded", {"at": "encoder"}, "gaussian", "leave network.at out"),
        ("other_classes", {}, "deterministic", "returned a network of 4 classes, expected 3"),
        ("other_shape", {}, "deterministic", r"cannot be run on inputs \[2, 1, 4, 4\]"),
        ("pairs", {}, "deterministic", "must return logits"),
        ("nothing", {}, "deterministic", "returned NoneType, expected a torch.nn.Module"),
        ("gone", {}, "deterministic", "has no function 'gone'"),
    ],
)
def test_what_cannot_be_trained_is_said(config, name, settings, latent, message):
    with pytest.raises(ConfigError, match=message):
        build(config(name, **settings), latent)


def test_a_file_that_changed_or_moved_is_named(config, tmp_path):
    network = config("plain")
    (tmp_path / "net.py").write_text(NETWORKS + "\n# changed\n")
    with pytest.raises(ConfigError, match=r"net\.py has changed since the run"):
        build(network)
    (tmp_path / "net.py").unlink()
    with pytest.raises(ConfigError, match=r"net\.py, which is not there; put the file back"):
        build(network)
    with pytest.raises(ConfigError, match="there is no file"):
        config("plain")


def test_settings_of_other_networks_are_refused(config):
    with pytest.raises(ConfigError, match=r"network\.encoder is a setting of the networks of this"):
        config("plain", encoder=[8])
    with pytest.raises(ConfigError, match="settings of a network of your own"):
        NetworkConfig("mlp", at="2")
