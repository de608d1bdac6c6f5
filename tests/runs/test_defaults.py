from dataclasses import replace

import pytest

from narrows.data import DATASETS
from narrows.methods import METHODS
from narrows.models import NetworkConfig
from narrows.runs.defaults import DEFAULTS, natural_network


def test_every_data_set_has_defaults():
    assert DEFAULTS.keys() == DATASETS.keys()


@pytest.mark.parametrize("method", list(METHODS))
def test_a_network_is_the_data_sets_own_unless_the_method_needs_binary_layers(method):
    network = natural_network("digits", method)
    if METHODS[method].latent == "binary":
        assert network == NetworkConfig("binary", encoder=[64, 64])
    else:
        assert network == DEFAULTS["digits"][0]


def test_binary_layers_have_the_widths_of_a_dense_encoder_or_those_of_the_paper():
    assert natural_network("twelve-bit", "sfnn").encoder == [10, 10]
    for data in ("fashion-mnist", "cifar10", "toy1"):  # convolutions, and no hidden layers at all
        assert natural_network(data, "sfnn").encoder == [512, 512]
    assert natural_network("toy1", "sfnn").normalise is DEFAULTS["toy1"][0].normalise is False
    assert natural_network("mnist", "sfnn").normalise is True


def test_no_natural_network_shares_its_lists_with_the_defaults():
    network = natural_network("digits", "sfnn")
    assert network.encoder is not None
    network.encoder.append(1)
    assert natural_network("digits", "sfnn").encoder == [64, 64]
    assert replace(network, encoder=[64, 64]) == natural_network("digits", "sfnn")
