from dataclasses import replace

import pytest
from narrows.experiments.config import DEFAULTS, RunConfig, load_config

from narrows.training import PUBLISHED

# Of folders that there are; keys that have come since are at their defaults in them.
KNOWN = {
    "digits": "9f28b25dec",
    "mnist": "023fa5f16b",
    "fashion-mnist": "507d84c7a9",
    "twelve-bit": "fe7f52b231",
    "toy1": "a4da37ee8d",
    "toy2": "fe041702d5",
}


@pytest.mark.parametrize("data", list(KNOWN))
def test_folders_keep_their_names_when_keys_are_added(data):
    assert RunConfig(data=data).identity() == KNOWN[data]


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
    ],
)
def test_new_keys_count_where_they_are_set(change):
    assert load_config(overrides=[change]).identity() != KNOWN["digits"]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_settings_replace_the_data_sets_own_and_single_numbers_go_over_it(name):
    config = load_config(values={"data": "mnist", "settings": name})
    assert config.train == PUBLISHED[name]
    assert config.network == DEFAULTS["mnist"][0]
    assert config.settings is None  # what is stored says every number, by no other name
    assert config == RunConfig(data="mnist", settings=name).resolve()
    changed = load_config(overrides=["data=mnist", f"settings={name}", "train.batch_size=77"])
    assert changed.train == replace(PUBLISHED[name], batch_size=77)
    assert RunConfig(data="mnist", train=PUBLISHED[name]).identity() == config.identity()
