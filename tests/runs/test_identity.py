from dataclasses import dataclass, field, make_dataclass

import pytest

from narrows.runs import RunConfig, load_config
from narrows.runs.identity import identity_of

# Names of folders, without what the data add: they change only where the meaning of a run does.
KNOWN = {
    "digits": "5a24b4ea74",
    "mnist": "bcfffee2d5",
    "fashion-mnist": "d23133a6d6",
    "cifar10": "89150bd47d",
    "cifar100": "9ede4443f3",
    "svhn": "60573d27bd",
    "tiny-imagenet": "1b534d7547",
    "twelve-bit": "4af5ec872e",
    "toy1": "1af0a8339b",
    "toy2": "ecd7b3619d",
}


@pytest.mark.parametrize("data", list(KNOWN))
def test_folders_keep_their_names(data):
    assert RunConfig(data=data).resolve().identity() == KNOWN[data]


@pytest.mark.parametrize(
    "change",
    [
        "adversarial=trades",
        "first_seed=1",
        "stack=false",
        "train.optimiser=adagrad",
        "train.clip_norm=5",
        "train.beta_ramp=1",
        "evaluate.attack=false",
        "network.latent_activation=relu",
        "validation_share=0.3",
        "data_sha256=ab",
    ],
)
def test_a_setting_counts_where_it_is_set(change):
    assert load_config(overrides=[change]).identity() != KNOWN["digits"]


@dataclass(frozen=True)
class Inner:
    width: int = 3
    layers: list[int] = field(default_factory=lambda: [1, 2])


@dataclass(frozen=True)
class Settings:
    name: str
    inner: Inner = field(default_factory=Inner)


def test_a_new_setting_at_its_default_does_not_change_the_hash():
    new = [("name", str), ("inner", Inner, Inner()), ("added", float, 0.5)]
    larger = make_dataclass("Settings", [*new, ("more", list, field(default_factory=list))])
    assert identity_of(larger("a")) == identity_of(Settings("a"))
    assert identity_of(larger("a", added=0.25)) != identity_of(Settings("a"))
    assert identity_of(larger("a", more=[1])) != identity_of(Settings("a"))


def test_a_setting_at_its_default_is_the_same_given_or_not():
    given = Settings("a", Inner(width=3, layers=[1, 2]))
    assert identity_of(given) == identity_of(Settings("a"))
    assert identity_of(Settings("a", Inner(layers=[2, 1]))) != identity_of(Settings("a"))
    assert identity_of(Settings("a", Inner(width=4))) != identity_of(Settings("a"))
    assert identity_of(Settings("b")) != identity_of(Settings("a"))


def test_equal_numbers_are_equal_however_they_are_written():
    assert identity_of({"a": 1, "b": [2.0]}) == identity_of({"b": (2,), "a": 1.0})
    assert identity_of({"a": 1e300}) != identity_of({"a": 1e299})
    assert identity_of({"a": 0.1}) != identity_of({"a": 0.1 + 1e-17 * 2})
    assert identity_of({"a": 0.1}) != identity_of({"a": 0.10000000000000002})
    assert identity_of({"a": None}) != identity_of({})
