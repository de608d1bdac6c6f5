"""Every method on every network that it trains, adversarially too, in a stack and one by one."""

from itertools import cycle

import pytest
from torch.testing import assert_close as same

from narrows.methods import METHODS
from product.cases import LARGE, METHOD_CASES, SMALLEST, WRAPPER_CASES
from product.walk import TINY, check_measured, losses, methods_of, run, settings

SEEDS = 2
PAIRS = [
    (method, network) for method, (networks, _) in METHOD_CASES.items() for network in networks
]
# Two more kinds of small convolutional networks, which take a minute of the whole.
ALIKE = ("lenet", "carlini")
SMALL_PAIRS = [
    pytest.param(*pair, marks=pytest.mark.slow if pair[1] in ALIKE else ())
    for pair in PAIRS
    if pair[1] not in LARGE
]
LARGE_PAIRS = [pair for pair in PAIRS if pair[1] in LARGE]
# Adversarial training: around every method on the first of its networks, and around
# cross-entropy on every large network. By default each method has one of the wrappers in turn.
WRAPPED = [
    pytest.param(
        *(method, networks[0], wrapper),
        marks=() if (place + turn) % len(WRAPPER_CASES) == 0 else pytest.mark.slow,
    )
    for place, (method, (networks, _)) in enumerate(METHOD_CASES.items())
    for turn, wrapper in enumerate(WRAPPER_CASES)
]
WRAPPED_LARGE = [
    ("cross_entropy", network, wrapper)
    for network, wrapper in zip(LARGE, cycle(WRAPPER_CASES), strict=False)
]


def words(method: str, network: str, wrapper: str | None = None) -> list[str]:
    adversarial = ["--adversarial", wrapper, *settings(WRAPPER_CASES[wrapper])] if wrapper else []
    return [
        *("--methods", method, "--network", network, *TINY),
        *settings(SMALLEST[network]),
        *settings(METHOD_CASES[method][1]),
        *adversarial,
    ]


def members(method: str) -> int:
    return SEEDS * (2 if METHODS[method].has_beta else 1)


def stacked_and_looped(out, method: str, network: str, wrapper: str | None = None):
    both = [*words(method, network, wrapper), "--data", "mnist", "--betas", "0.1,0.2"]
    return [run(out / stack, *both, "--set", f"stack={stack}") for stack in ("true", "false")]


@pytest.mark.parametrize(("method", "network"), SMALL_PAIRS)
def test_a_method_trains_a_small_network_in_a_stack_as_one_by_one(method, network, tmp_path):
    stacked, looped = stacked_and_looped(tmp_path, method, network)
    for folder in (stacked, looped):
        check_measured(folder, method, members(method), attacked=True)
    same(losses(stacked, method), losses(looped, method), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "network", "wrapper"), WRAPPED)
def test_adversarial_training_wraps_a_method_in_a_stack_as_one_by_one(
    method, network, wrapper, tmp_path
):
    stacked, looped = stacked_and_looped(tmp_path, method, network, wrapper)
    for folder in (stacked, looped):
        check_measured(folder, method, members(method), attacked=True)
    # An attack takes the sign of gradients: where one is nearly 0, rounding may turn it.
    same(losses(stacked, method), losses(looped, method), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("method", "network"), LARGE_PAIRS)
def test_a_method_trains_a_large_network(method, network, tmp_path):
    large = [*words(method, network), "--data", "cifar10", "--seeds", "1"]
    folder = run(tmp_path, *large, "--set", "evaluate.attack=false")
    check_measured(folder, method, 1, attacked=False)


@pytest.mark.parametrize(("method", "network", "wrapper"), WRAPPED_LARGE)
def test_adversarial_training_of_a_large_network(method, network, wrapper, tmp_path):
    large = [*words(method, network, wrapper), "--data", "cifar10", "--seeds", "1"]
    folder = run(tmp_path, *large, "--set", "evaluate.attack=false")
    check_measured(folder, method, 1, attacked=False)


def test_methods_of_different_networks_in_one_run(tmp_path):
    folder = run(tmp_path, *TINY, "--methods", "sfnn,vib", "--data", "digits")
    assert methods_of(folder) == ["sfnn", "vib"]
    for method in ("sfnn", "vib"):
        check_measured(
            folder, method, members(method) // (2 if method == "vib" else 1), attacked=True
        )


def test_all_methods_that_any_network_suits_in_one_run(tmp_path):
    together = [name for name, (networks, _) in METHOD_CASES.items() if "mlp" in networks]
    options = [word for name in together for word in settings(METHOD_CASES[name][1])]
    small = [*settings(SMALLEST["mlp"]), *options, "--network", "mlp"]
    folder = run(tmp_path, *TINY, "--methods", ",".join(together), "--data", "digits", *small)
    assert methods_of(folder) == together
    for method in together:
        check_measured(folder, method, SEEDS, attacked=True)
