"""Combinations that make no sense: exit code 2, one line that says why, and nothing is written.

Every pair of method and network is either trained in `test_methods.py` or refused here; so is every
pair of network and data set, and of adversarial training and data set.
"""

import re

import pytest

from product.cases import IMAGES_ONLY, LATENT, METHOD_CASES, SMALLEST, WRAPPER_CASES
from product.stand_ins import SHAPES
from product.walk import TINY, narrows, refused, run, settings, watched

LEAST_SIDE = {"cnn": 6, "lenet": 4, "carlini": 16, "vgg16": 32, "resnet18": 8,
              "preact_resnet18": 8, "wide_resnet": 4}  # fmt: skip


def why_not(out, *words: object) -> str:
    """What `narrows run` says as it refuses, having written nothing."""
    said = refused("run", "--out", out / "runs", *TINY, *words)
    assert not (out / "runs").exists() or list((out / "runs").iterdir()) == []
    return said


UNSUITED = [
    (method, network)
    for method, (networks, _) in METHOD_CASES.items()
    for network in SMALLEST
    if network not in networks
]


@pytest.mark.parametrize(("method", "network"), UNSUITED)
def test_a_network_that_a_method_cannot_train(method, network, tmp_path):
    data = "mnist" if network in ("binary", "mlp") else "cifar10"
    said = why_not(tmp_path, "--methods", method, "--network", network, "--data", data)
    assert "network.name" in said


@pytest.mark.parametrize("network", ["mlp", "cnn", "wide_resnet"])
@pytest.mark.parametrize("method", [*LATENT, "aib"])
def test_a_method_of_a_latent_on_a_network_without_one(method, network, tmp_path):
    words = ["--methods", method, "--network", network, "--data", "cifar10"]
    said = why_not(tmp_path, *words, "--set", "network.bottleneck=0")
    assert "network.bottleneck" in said


def fits(network: str, data: str) -> bool:
    shape, *_ = SHAPES[data]
    if network not in IMAGES_ONLY:
        return True
    return len(shape) == 3 and shape[1] >= LEAST_SIDE[network]


@pytest.mark.parametrize("data", SHAPES)
@pytest.mark.parametrize("network", SMALLEST)
def test_a_network_takes_the_inputs_that_it_can(network, data, tmp_path):
    words = ["--methods", "cross_entropy", "--network", network, "--data", data]
    small = settings(SMALLEST[network])
    if fits(network, data):
        with watched(break_at=1):  # it would train: that is enough here
            assert narrows("run", "--out", tmp_path, *TINY, *words, *small).code == 130
    else:
        said = why_not(tmp_path, *words, *small)
        assert re.search(r"needs images|too small", said)


@pytest.mark.parametrize("data", SHAPES)
@pytest.mark.parametrize("wrapper", WRAPPER_CASES)
def test_adversarial_training_is_for_images(wrapper, data, tmp_path):
    words = ["--methods", "cross_entropy", "--adversarial", wrapper, "--data", data]
    words += [*settings(WRAPPER_CASES[wrapper]), "--network", "mlp", *settings(SMALLEST["mlp"])]
    *_, image, _ = SHAPES[data]
    if image:
        run(tmp_path, *TINY, *words, "--set", "evaluate.attack=false")
    else:
        assert "changes images in [0, 1]" in why_not(tmp_path, *words)
