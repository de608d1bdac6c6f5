from dataclasses import replace

import pytest
from narrows.experiments.config import DEFAULTS, RunConfig, load_config

from narrows.training import RECIPES

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


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_takes_the_place_of_the_data_sets_own_and_single_numbers_go_over_it(name):
    config = load_config(values={"data": "mnist", "recipe": name})
    assert config.train == RECIPES[name]
    assert config.network == DEFAULTS["mnist"][0]
    assert config.recipe is None  # what is stored says every number, by no other name
    assert config == RunConfig(data="mnist", recipe=name).resolve()
    changed = load_config(overrides=["data=mnist", f"recipe={name}", "train.batch_size=77"])
    assert changed.train == replace(RECIPES[name], batch_size=77)
    assert RunConfig(data="mnist", train=RECIPES[name]).identity() == config.identity()
