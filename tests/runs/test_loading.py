"""From files, values and options to a configuration, and what is said of a wrong one."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from narrows.errors import ConfigError, StoreError
from narrows.methods import AIB
from narrows.models import NetworkConfig
from narrows.runs import RunConfig, load_config
from narrows.runs.defaults import DEFAULTS
from narrows.runs.files import write_json
from narrows.runs.toml import config_toml
from narrows.training.published import PUBLISHED


def toml(values: dict, prefix: str = "") -> str:
    """TOML of nested dicts of numbers, strings and lists; what is None is left out."""
    lines, tables = [], []
    for key, value in values.items():
        if isinstance(value, dict):
            tables.append(f"[{prefix}{key}]\n{toml(value, f'{prefix}{key}.')}")
        elif value is not None:
            lines.append(f"{key} = {json.dumps(value)}\n")
    return "".join(lines + tables)


def test_defaults_are_the_data_sets_own():
    for data, (network, train) in DEFAULTS.items():
        config = load_config(values={"data": data})
        assert set(config.networks) == {"cross_entropy", "vib", "aib"}
        assert all(chosen == network for chosen in config.networks.values())
        assert config.train == train
        assert config == RunConfig(data=data).resolve()


def test_a_network_that_is_named_has_its_own_widths():
    config = load_config(values={"data": "mnist", "network": {"name": "lenet"}})
    network = config.networks["vib"]
    assert network == NetworkConfig("lenet", bottleneck=10)
    assert (network.encoder, network.decoder) == ([32, 64], [1024])
    given = {"data": "mnist", "methods": ["sfnn"], "network": {"name": "binary", "encoder": [7, 5]}}
    assert load_config(values=given).networks["sfnn"] == NetworkConfig("binary", encoder=[7, 5])


def test_one_changed_number_keeps_the_data_sets_other_defaults():
    network, train = DEFAULTS["mnist"]
    config = load_config(values={"data": "mnist"}, overrides=["train.epochs=3"])
    assert (config.networks["vib"], config.train) == (network, replace(train, epochs=3))
    config = load_config(overrides=["data=mnist", "network.bottleneck=7"])
    assert (config.networks["vib"], config.train) == (replace(network, bottleneck=7), train)


def test_one_changed_width_keeps_the_kind_of_network():
    network = DEFAULTS["fashion-mnist"][0]
    assert network.name == "cnn"
    config = load_config(overrides=["data=fashion-mnist", "network.bottleneck=16"])
    assert config.networks["aib"] == replace(network, bottleneck=16)
    config = load_config(values={"data": "cifar10", "network": {"bottleneck": 16}})
    assert config.networks["aib"] == NetworkConfig("vgg16", bottleneck=16)


def test_one_methods_network_alone_is_a_change_of_its_natural_one():
    given = {"methods": ["vib", "sfnn"], "networks": {"sfnn": {"encoder": [5, 3]}}}
    config = load_config(values=given)
    assert config.networks["vib"] == DEFAULTS["digits"][0]
    assert config.networks["sfnn"] == NetworkConfig("binary", encoder=[5, 3])
    config = load_config(values={"networks": {"aib": {"bottleneck": 3}}})
    assert config.networks["vib"] == DEFAULTS["digits"][0]
    assert config.networks["aib"] == replace(DEFAULTS["digits"][0], bottleneck=3)


def test_methods_of_different_networks_can_share_a_run():
    config = load_config(values={"methods": ["sfnn", "vib"]}, overrides=["network.bottleneck=3"])
    assert config.networks["vib"] == replace(DEFAULTS["digits"][0], bottleneck=3)
    assert config.networks["sfnn"].name == "binary"


def test_widths_without_a_name_are_those_of_every_network():
    given = ["network.encoder=[7, 5]", "network.normalise=false", "network.decoder=[3]"]
    config = load_config(values={"methods": ["sfnn", "vib"]}, overrides=given)
    assert config.networks["vib"].encoder == [7, 5]
    assert config.networks["sfnn"] == NetworkConfig("binary", encoder=[7, 5], normalise=False)
    one = {"methods": ["sfnn"], "networks": {"sfnn": {"encoder": [9]}}}
    assert load_config(values=one, overrides=given[:1]).networks["sfnn"].encoder == [9]


@pytest.mark.parametrize("name", ["a${b}.npz", "./${oc.env:HOME}.npz", "a$${b}.npz", "${data}.npz"])
def test_text_that_looks_like_a_reference_is_the_name_of_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).random((30, 4)), np.arange(30) % 2
    np.savez(name, x=x, y=y)
    config = load_config(values={"data": name, "methods": ["cross_entropy"]})
    assert config.data == str(tmp_path / name)
    (tmp_path / "it.toml").write_text(config_toml(config), "utf-8")
    assert load_config(tmp_path / "it.toml") == config
    assert load_config(overrides=["train.epochs=${seeds}", "seeds=2"]).train.epochs == 2


def test_a_file_gives_way_to_values_and_these_to_overrides(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("seeds = 5\nbetas = [0.5]\n[train]\nepochs = 7\nbatch_size = 32\n")
    config = load_config(file, {"train": {"epochs": 8}, "seeds": 6}, ["train.epochs=9"])
    assert (config.seeds, config.grids["vib"]) == (6, [0.5])
    assert (config.train.epochs, config.train.batch_size) == (9, 32)
    assert load_config(str(file)).seeds == 5


@pytest.mark.parametrize("data", list(DEFAULTS))
def test_a_resolved_configuration_survives_toml(tmp_path, data):
    given = ["betas=[0.1,1]", "evaluate.mode=sample", "options.aib.hidden=[8]"]
    config = load_config(values={"data": data}, overrides=given)
    file = tmp_path / "run.toml"
    file.write_text(toml(asdict(config)))
    again = load_config(file)
    assert again == config
    assert again.identity() == config.identity()
    assert again.options == {"aib": {"hidden": [8]}}


@pytest.fixture
def stored(tmp_path):
    """The configuration that a run of four methods has stored, with nothing at its default."""
    config = load_config(
        values={
            "data": "mnist",
            "methods": ["sfnn", "vib", "aib", "cross_entropy"],
            "grids": {"aib": [2.0, 4.0]},
            "betas": [0.5],
            "network": {"encoder": [8], "bottleneck": 3, "decoder": [5]},
            "settings": "vib",
            "adversarial": "trades",
            "options": {"trades": {"steps": 2}},
            "seeds": 4,
            "data_sha256": "ab" * 32,
        }
    )
    path = tmp_path / "config.json"
    write_json(path, "configuration", config)
    return path, config


def test_the_configuration_of_a_run_is_read_as_it_was(stored):
    path, config = stored
    assert load_config(path) == config
    assert load_config(str(path)).identity() == config.identity()


def test_options_go_over_the_configuration_of_a_run(stored):
    path, config = stored
    assert load_config(path, {"seeds": 2}) == replace(config, seeds=2)
    grids = {"sfnn": [0.0], "vib": [0.1], "aib": [0.1], "cross_entropy": [0.0]}
    assert load_config(path, {"betas": [0.1]}) == replace(config, grids=grids)
    wider = {method: replace(net, decoder=[6]) for method, net in config.networks.items()}
    assert load_config(path, overrides=["network.decoder=[6]"]).networks == wider
    train = PUBLISHED["aib"]
    assert load_config(path, {"settings": "aib"}) == replace(config, train=train)
    fewer = load_config(path, {"methods": ["vib"]})
    assert (fewer.grids, list(fewer.networks)) == ({"vib": [0.5]}, ["vib"])


def test_another_kind_of_network_takes_the_place_of_a_runs_own(stored):
    path, _ = stored
    config = load_config(path, {"methods": ["vib", "aib"], "network": {"name": "lenet"}})
    assert config.networks["vib"] == config.networks["aib"] == NetworkConfig("lenet")


def test_other_data_are_not_held_to_the_hash_of_a_runs_own(stored):
    path, config = stored
    assert load_config(path, {"data": "mnist"}).data_sha256 == config.data_sha256
    assert load_config(path, {"data": "fashion-mnist"}).data_sha256 == ""


def test_a_damaged_configuration_of_a_run_is_named(stored):
    path, _ = stored
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(StoreError, match=r"config\.json is damaged"):
        load_config(path)


REFUSED = {
    "train.epocs=3": "train.epocs: Key 'epocs' not in 'TrainConfig'. Did you mean: 'epochs'",
    "betta=3": "betta: Key 'betta' not in 'RunConfig'. Did you mean: 'betas'",
    "train.epochs=three": "train.epochs: Value 'three' of type 'str' could not be converted to",
    "train.epochs=2.5": "train.epochs: Value '2.5'",
    "train.epochs=true": "train.epochs: Value 'True' of type 'bool'",
    "train.epochs": "expected KEY=VALUE, like train.epochs=3, got 'train.epochs'",
    "=3": "expected KEY=VALUE",
    "betas=[1,": "cannot read the value in 'betas=[1,': ",
    "betas=0.1": "betas: expected a list, like",
    "methods=vib": "methods: expected a list, like",
    "methods=[vibb]": "unknown method 'vibb'; did you mean 'vib'? Valid: vib, ",
    "data=minst": "unknown data set 'minst'; did you mean 'mnist'",
    "network.name=rnn": "unknown network 'rnn'; did you mean 'cnn'",
    "network.encoder=[8,0]": "all widths of a network must lie in 1",
    "network=3": "network: expected a table of settings, got 3",
    "methods.vib=3": "methods: expected a list, like [a, b], got {'vib': 3}",
    "methods=[[vib]]": "methods[0]: expected a single value, got ['vib']",
    "betas=[[1]]": "betas[0]: expected a single value, got [1]",
    "networks.vibb.bottleneck=3": "unknown method 'vibb'",
    "seeds=0": "seeds must be at least 1, got 0",
    "seeds=99999999": "more than the 100,000 that one run may have",
    "train.learning_rate=0": "train.learning_rate must be positive and finite, got 0.0",
    "evaluate.mode=median": "evaluate.mode: Invalid value 'median', expected one of ['mean', 'sam",
    "evaluate.eps=[1.5]": "evaluate.eps must be radii in (0, 1] for images in [0, 1], got [1.5]",
    "evaluate=null": "evaluate: field 'evaluate' is not Optional",
    "options.vibb.steps=2": "unknown method 'vibb'; did you mean 'vib'",
    "options.aib.hiden=[2]": "unknown option of aib 'hiden'; did you mean 'hidden'? Valid: hid",
    "options.aib.beta=2": "unknown option of aib 'beta'",
    "options.aib.inputs=2": "unknown option of aib 'inputs'",
    "options.confidence_penalty.steps=2": "confidence_penalty has no options, got",
    "options.aib.steps=two": "options.aib.steps must be a whole number, got 'two'",
    "options.aib.steps=1.5": "options.aib.steps must be a whole number, got 1.5",
    "options.aib.steps=true": "options.aib.steps must be a whole number, got True",
    "options.aib.averaging=x": "options.aib.averaging must be a number, got 'x'",
    "options.aib.hidden=64": "options.aib.hidden must be a list, each a whole number, got 64",
    "options.aib.hidden=[a]": "options.aib.hidden must be a list, each a whole number, got ['a']",
    "options.aib=3": "options.aib: ",
    "options.trades.variant=other": "options.trades.variant must be ",
    "seeds=${nothing}": "nothing",
    "seeds=???": "seeds has no value",
    "train.epochs=???": "train.epochs has no value",
}


@pytest.mark.parametrize("override", list(REFUSED))
def test_what_is_wrong_is_refused_by_name_in_one_line(override):
    with pytest.raises(ConfigError) as raised:
        load_config(overrides=[override])
    assert REFUSED[override] in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_option_out_of_range_is_a_matter_of_the_run():
    # Only its constructor knows the range; `narrows.runs.building.try_method` asks it.
    config = load_config(overrides=["options.aib.steps=0"])
    assert config.options == {"aib": {"steps": 0}}
    with pytest.raises(ConfigError, match="AIB needs steps >= 1"):
        AIB(0.1, latent=2, inputs=2, steps=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train = [", "run.toml is not valid TOML: "),
        (b"a = 1\na = 2", "run.toml is not valid TOML: "),
        (b"\xff\xfe", "run.toml is not valid TOML: "),
        (b"a = " + b"[" * 100_000, "run.toml is not valid TOML: "),
        (b"seeds = " + b"9" * 5000, "run.toml is not valid TOML: "),
        (b"#" * (2**20 + 1), "run.toml is larger than 1 MiB"),
        (b"[train]\nepocs = 3", "train.epocs: Key 'epocs' not in 'TrainConfig'"),
        (b"train = 3", "train: expected a table of settings, got 3"),
        (b"[[train]]\nepochs = 3", "train: expected a table of settings, got [{'epochs': 3}]"),
        (b"evaluate = 'x'", "evaluate: expected a table of settings, got x"),
        (b"data = '???'", "data has no value"),
        (b"[options.aib]\nsteps = 2020-01-01", "options.aib.steps: "),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_config(file)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        load_config(Path(tmp_path))
    for path in ("", "a\0b", 3):
        with pytest.raises(ConfigError, match="must be a path"):
            load_config(path)
