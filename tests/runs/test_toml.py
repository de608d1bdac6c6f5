import tomllib

import numpy as np
import pytest

from narrows.runs import load_config
from narrows.runs.toml import config_toml

WORDS = [
    {},
    {"methods": ["sfnn", "vib"], "seeds": 1, "first_seed": 3, "validation_share": 0.25},
    {"data": "toy1", "betas": [1e-5, 0.1, 1e30], "evaluate": {"attack": False}},
    {"data": "cifar10", "settings": "ib-rar", "adversarial": "trades", "methods": ["ib_rar"]},
    {"options": {"aib": {"hidden": [8, 8], "steps": 2}, "trades": {"steps": 2}},
     "adversarial": "trades", "network": {"name": "cnn", "latent": None}},
    {"networks": {"vib": {"name": "lenet"}}, "grids": {"vib": [0.5]}, "data": "mnist"},
    {"data_sha256": "ab" * 32, "stack": False, "device": "cuda:0"},
]  # fmt: skip


@pytest.mark.parametrize("values", WORDS, ids=lambda values: " ".join(values) or "defaults")
def test_what_is_printed_is_read_back_to_the_same_configuration(values, tmp_path):
    config = load_config(values=values)
    (tmp_path / "it.toml").write_text(config_toml(config), "utf-8")
    again = load_config(tmp_path / "it.toml")
    assert again == config
    assert again.identity() == config.identity()
    assert config_toml(again) == config_toml(config)


def test_data_and_networks_of_the_users_own_are_named_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / 'my "ünd" \\data.npz'
    np.savez(odd, x=np.ones((20, 2)) / 2, y=np.arange(20) % 2)
    (tmp_path / "net.py").write_text("def build(shape, classes): pass")
    values = {"data": odd.name, "network": {"name": "net.py:build", "at": "layer1.0"}}
    values["methods"] = ["vib"]
    config = load_config(values=values | {"data": f"./{odd.name}"})
    (tmp_path / "it.toml").write_text(config_toml(config), "utf-8")
    monkeypatch.chdir("/")
    again = load_config(tmp_path / "it.toml")
    assert again == config
    assert again.networks["vib"].at == "layer1.0"


def test_options_go_over_it(tmp_path):
    (tmp_path / "it.toml").write_text(config_toml(load_config()))
    changed = load_config(tmp_path / "it.toml", {"betas": [0.5]}, ["train.epochs=3"])
    assert (changed.grids["vib"], changed.train.epochs) == ([0.5], 3)
    assert tomllib.loads(config_toml(changed))["train"]["epochs"] == 3
