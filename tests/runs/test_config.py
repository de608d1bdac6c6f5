import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from narrows.experiments.config import DEFAULTS, RunConfig, load_config

from narrows.data import DATASETS
from narrows.errors import ConfigError
from narrows.methods import AIB, METHODS, VIB
from narrows.models import NetworkConfig
from narrows.runs.options import check_options, declared_options


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
        assert (config.network, config.train) == (network, train)
        assert config == RunConfig(data=data).resolve()
    assert DEFAULTS.keys() == DATASETS.keys()


def test_a_network_that_is_named_has_its_own_widths():
    config = load_config(values={"data": "mnist", "network": {"name": "lenet"}})
    assert config.network == NetworkConfig("lenet", bottleneck=10)
    assert (config.network.encoder, config.network.decoder) == ([32, 64], [1024])
    given = {"data": "mnist", "network": {"name": "binary", "encoder": [7, 5]}}
    assert load_config(values=given).network == NetworkConfig("binary", encoder=[7, 5])


def test_one_changed_number_keeps_the_data_sets_other_defaults():
    network, train = DEFAULTS["mnist"]
    config = load_config(values={"data": "mnist"}, overrides=["train.epochs=3"])
    assert (config.network, config.train) == (network, replace(train, epochs=3))
    config = load_config(overrides=["data=mnist", "network.bottleneck=7"])
    assert (config.network, config.train) == (replace(network, bottleneck=7), train)


def test_a_file_gives_way_to_values_and_these_to_overrides(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("seeds = 5\nbetas = [0.5]\n[train]\nepochs = 7\nbatch_size = 32\n")
    config = load_config(file, {"train": {"epochs": 8}, "seeds": 6}, ["train.epochs=9"])
    assert config.train is not None
    assert (config.seeds, config.betas) == (6, [0.5])
    assert (config.train.epochs, config.train.batch_size) == (9, 32)


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


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def test_every_number_counts_for_the_identity():
    given = ["train.optimiser=sgd", "train.momentum=0.25"]
    values = {"betas": [0.25, 0.5], "options": {"aib": {"averaging": 0.25}}}
    config = load_config(values=values, overrides=given)
    plain = asdict(config)
    seen = {config.identity()}
    paths = [path for path, _ in leaves(plain)]
    assert len(paths) > 30
    for path, value in leaves(plain):
        changed = json.loads(json.dumps(plain))
        target = changed
        for key in path[:-1]:
            target = target[key]
        nearby = value + 1 if isinstance(value, int) else value * 0.999 + 1e-9
        target[path[-1]] = nearby
        seen.add(load_config(values=changed).identity())
    assert len(seen) == len(paths) + 1


def test_names_count_for_the_identity():
    base = load_config().identity()
    for change in ("data=toy1", "methods=[vib]", "device=cuda", "evaluate.mode=sample"):
        assert load_config(overrides=[change]).identity() != base


def shuffled(value):
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.Random(0).shuffle(keys)
    return {key: shuffled(value[key]) for key in keys}


def test_the_identity_does_not_depend_on_order_or_spelling():
    config = RunConfig(betas=[1], options={"aib": {"steps": 2, "averaging": 1}})
    same = RunConfig(betas=[1.0], options={"aib": {"averaging": 1.0, "steps": 2}})
    assert config.identity() == same.identity() == config.resolve().identity()
    resolved = asdict(config.resolve())
    assert load_config(values=shuffled(resolved)).identity() == config.identity()
    tuples = RunConfig(betas=[1], options={"aib": {"hidden": (8, 8)}})
    lists = RunConfig(betas=[1], options={"aib": {"hidden": [8, 8]}})
    assert tuples.identity() == lists.identity() != config.identity()


def test_the_identity_draws_no_random_numbers():
    before = torch.get_rng_state()
    RunConfig(data="mnist").identity()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_grid_is_the_given_one_except_for_a_method_without_beta():
    config = RunConfig(betas=[0.1, 0.2])
    assert [config.grid(m) for m in ("cross_entropy", "vib")] == [[0.0], [0.1, 0.2]]
    assert RunConfig().grid("vib") == list(VIB.default_betas)


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
    "methods=[]": "methods is empty; valid: cross_entropy, ",
    "methods=[vib,vib]": "methods are named twice: vib, vib",
    "data=minst": "unknown data set 'minst'; did you mean 'mnist'",
    "network.name=rnn": "unknown network 'rnn'; did you mean 'cnn'",
    "network.encoder=[8,0]": "all widths of a network must be positive",
    "seeds=0": "seeds must be at least 1, got 0",
    "betas=[]": "betas is empty; leave it out",
    "betas=[-1]": "beta must be finite and at least 0, got -1.0",
    "betas=[nan]": "beta must be finite and at least 0, got nan",
    "betas=[0.1,0.1]": "a beta is given twice in [0.1, 0.1]",
    "train.learning_rate=0": "train.learning_rate must be positive and finite, got 0.0",
    "evaluate.mode=median": "evaluate.mode: Invalid value 'median', expected one of ['mean', 'sam",
    "evaluate.eps=[1.5]": "evaluate.eps must be radii in (0, 1] for images in [0, 1], got [1.5]",
    "evaluate.eps=[]": "evaluate.eps must be radii",
    "evaluate.pgd_steps=0": "evaluate.pgd_steps must be at least 1, got 0",
    "evaluate.information_samples=1": "information_samples >= 2, got 1000 and 1",
    "evaluate.noise_std=inf": "evaluate.noise_std must be positive and finite, got inf",
    "evaluate=null": "evaluate: field 'evaluate' is not Optional",
    "options.vibb.steps=2": "unknown method 'vibb'; did you mean 'vib'",
    "options.aib.hiden=[2]": "unknown option of aib 'hiden'; did you mean 'hidden'? Valid: hid",
    "options.aib.beta=2": "unknown option of aib 'beta'",
    "options.aib.inputs=2": "unknown option of aib 'inputs'",
    "options.confidence_penalty.steps=2": "confidence_penalty has no options, got",
    "options.aib.steps=two": "options.aib.steps must be a whole number, got 'two'",
    "options.aib.steps=1.5": "options.aib.steps must be a whole number, got 1.5",
    "options.aib.steps=true": "options.aib.steps must be a whole number, got True",
    "options.aib.steps=0": "AIB needs steps >= 1",
    "options.aib.averaging=x": "options.aib.averaging must be a number, got 'x'",
    "options.aib.hidden=64": "options.aib.hidden must be a list, each a whole number, got 64",
    "options.aib.hidden=[a]": "options.aib.hidden must be a list, each a whole number, got ['a']",
    "options.aib=3": "options.aib: ",
}


@pytest.mark.parametrize("override", list(REFUSED))
def test_what_is_wrong_is_refused_by_name_in_one_line(override):
    with pytest.raises(ConfigError) as raised:
        load_config(overrides=[override])
    assert REFUSED[override] in str(raised.value)
    assert "\n" not in str(raised.value)


def test_options_that_a_method_declares_are_those_it_may_be_given():
    own = {"hidden", "steps", "selected", "averaging", "only_positive"}
    assert set(declared_options(AIB)) == own
    assert set(declared_options(VIB)) == {"samples"}
    assert declared_options(METHODS["confidence_penalty"]) == {}
    check_options("aib", {"hidden": (8, 8), "steps": 2, "selected": None, "averaging": 1})
    for name, kind in METHODS.items():
        for option in declared_options(kind):
            with pytest.raises(ConfigError, match=rf"options\.{name}\.{option} must be "):
                check_options(name, {option: {"of": "no type"}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train = [", "run.toml is not valid TOML: "),
        (b"a = 1\na = 2", "run.toml is not valid TOML: "),
        (b"\xff\xfe", "run.toml is not valid TOML: "),
        (b"[train]\nepocs = 3", "train.epocs: Key 'epocs' not in 'TrainConfig'"),
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
