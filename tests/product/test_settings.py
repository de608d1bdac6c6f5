"""Every word that a setting may be: of the network, the training, the methods and their wrappers.

The words are read off the declared types, so that a new one is tried as soon as it is declared.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import pytest

from narrows.methods import METHODS
from narrows.methods.adversarial import WRAPPERS
from narrows.models.networks import NetworkConfig
from narrows.training import TrainConfig
from product.cases import LATENT, METHOD_CASES, SMALLEST, WRAPPER_CASES
from product.walk import TINY, check_measured, narrows, run, settings

# The network that a setting of networks is tried on, where it is not the smallest one.
NETWORK_OF = {"norm": "wide_resnet", "stem": "resnet18", "name": "cnn"}
# What else must be set for a word to have a meaning.
BESIDE = {
    "train.beta_scale=log": ["--set", "train.beta_ramp=1", "--epochs", "2"],
    "train.beta_scale=linear": ["--set", "train.beta_ramp=1", "--epochs", "2"],
}


class Setting(NamedTuple):
    """A word of one setting, and the run that it is tried in."""

    method: str
    network: str
    wrapper: str | None
    text: str

    def __str__(self) -> str:
        """As a name of a test."""
        return self.text


def words_in(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [word for word in get_args(hint) if isinstance(word, str)]
    return [word for part in get_args(hint) for word in words_in(part)]


def words_of(kind: Any) -> Iterator[tuple[str, str]]:
    for name, hint in get_type_hints(kind).items():
        yield from ((name, word) for word in words_in(hint))


LATENTS = [word for name, word in words_of(NetworkConfig) if name == "latent"]
# Others are VIB's.
METHOD_OF = {"deterministic": "aib", "relu": "aib", "unit": "nib", "shared": "nib"}


def all_settings() -> Iterator[Setting]:
    for name, word in words_of(NetworkConfig):
        network = NETWORK_OF.get(name, "mlp")
        method = METHOD_OF.get(word, "vib")
        yield Setting(method, network, None, f"network.{name}={word}")
    for name, word in words_of(TrainConfig):
        yield Setting("vib", "cnn", None, f"train.{name}={word}")
    for method, kind in METHODS.items():
        network = "cnn" if "cnn" in METHOD_CASES[method][0] else "binary"
        for name, word in words_of(kind.__init__):
            yield Setting(method, network, None, f"options.{method}.{name}={word}")
    for wrapper, kind in WRAPPERS.items():
        words = [*words_of(kind.__init__), *(("variant", word) for word in kind.variants)]
        for name, word in words:
            yield Setting("vib", "mlp", wrapper, f"options.{wrapper}.{name}={word}")


@pytest.mark.parametrize("setting", sorted(set(all_settings()), key=str), ids=str)
def test_a_word_of_a_setting(setting, tmp_path):
    words = [*TINY, "--seeds", "1", "--methods", setting.method, "--network", setting.network]
    words += [*settings(SMALLEST[setting.network]), *settings(METHOD_CASES[setting.method][1])]
    if setting.wrapper:
        words += ["--adversarial", setting.wrapper, *settings(WRAPPER_CASES[setting.wrapper])]
    words += [*settings(f"{setting.text} evaluate.attack=false"), *BESIDE.get(setting.text, [])]
    data = "mnist" if setting.network != "resnet18" else "cifar10"
    folder = run(tmp_path, *words, "--data", data)
    check_measured(folder, setting.method, 1, attacked=False)


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("method", LATENT)
def test_a_method_takes_a_latent_or_says_which(method, latent, tmp_path):
    words = [*TINY, "--seeds", "1", "--methods", method, *settings(SMALLEST["mlp"])]
    words += settings(f"network.latent={latent} evaluate.attack=false")
    said = narrows("run", "--out", tmp_path, *words, "--data", "mnist", "--network", "mlp")
    assert said.code in (0, 2)
    if said.code == 2:
        assert said.err.count("\n") == 1
        assert "latent" in said.err
