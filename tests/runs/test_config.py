"""What a run may be, and what it becomes once nothing is left open."""

import json
import random
from dataclasses import asdict, replace

import pytest
import torch

from narrows.errors import ConfigError
from narrows.methods import VIB
from narrows.models import NetworkConfig
from narrows.runs import EvaluateConfig, Member, RunConfig, load_config
from narrows.runs.defaults import DEFAULTS
from narrows.training.published import PUBLISHED


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
    options = {"aib": {"averaging": 0.25}}
    values = {"methods": ["vib", "aib"], "betas": [0.25, 0.5], "options": options}
    config = load_config(values=values, overrides=given)
    plain = asdict(config)
    seen = {config.identity()}
    # Of a dense network this share has to be 1.
    numbers = [leaf for leaf in leaves(plain) if leaf[0][-1] != "channel_share"]
    paths = [path for path, _ in numbers]
    assert len(paths) > 30
    for path, value in numbers:
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
    config = RunConfig(betas=[1], options={"aib": {"steps": 2, "averaging": 1}}).resolve()
    same = RunConfig(betas=[1.0], options={"aib": {"averaging": 1.0, "steps": 2}}).resolve()
    assert config.identity() == same.identity()
    assert load_config(values=shuffled(asdict(config))).identity() == config.identity()
    tuples = RunConfig(betas=[1], options={"aib": {"hidden": (8, 8)}}).resolve()
    lists = RunConfig(betas=[1], options={"aib": {"hidden": [8, 8]}}).resolve()
    assert tuples.identity() == lists.identity() != config.identity()


def test_the_identity_draws_no_random_numbers():
    before = torch.get_rng_state()
    RunConfig(data="mnist").resolve().identity()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_grid_is_the_methods_own_then_the_common_one_then_the_default():
    config = RunConfig(methods=["cross_entropy", "vib", "aib"], betas=[0.1, 0.2])
    same = {"vib": [0.1, 0.2], "aib": [0.1, 0.2]}
    assert config.resolve().grids == {"cross_entropy": [0.0], **same}
    single = replace(config, grids={"aib": [3.0]}).resolve().grids
    assert single == {"cross_entropy": [0.0], "vib": [0.1, 0.2], "aib": [3.0]}
    assert RunConfig(methods=["vib"]).resolve().grids == {"vib": list(VIB.default_betas)}


def test_a_network_is_the_methods_own_then_the_common_one_then_the_natural_one():
    common, special = NetworkConfig(encoder=[8]), NetworkConfig(encoder=[9])
    config = RunConfig(methods=["vib", "aib"], network=common, networks={"aib": special})
    assert config.resolve().networks == {"vib": common, "aib": special}
    natural = RunConfig(methods=["vib", "sfnn"]).resolve().networks
    assert natural["vib"] == DEFAULTS["digits"][0]
    assert (natural["sfnn"].name, natural["sfnn"].encoder) == ("binary", [64, 64])


def test_the_members_are_every_beta_with_every_seed():
    config = RunConfig(methods=["vib"], betas=[0.5, 0.1], seeds=2, first_seed=5).resolve()
    expected = [(0.5, 5), (0.5, 6), (0.1, 5), (0.1, 6)]
    assert config.members("vib") == [Member("vib", beta, seed) for beta, seed in expected]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_recipe_takes_the_place_of_the_data_sets_own_and_single_numbers_go_over_it(name):
    config = load_config(values={"data": "mnist", "settings": name})
    assert config.train == PUBLISHED[name]
    assert config.networks["vib"] == DEFAULTS["mnist"][0]
    assert config == RunConfig(data="mnist", settings=name).resolve()
    changed = load_config(overrides=["data=mnist", f"settings={name}", "train.batch_size=77"])
    assert changed.train == replace(PUBLISHED[name], batch_size=77)
    # What is stored says every number, whatever name it came by.
    given = RunConfig(data="mnist", train=PUBLISHED[name]).resolve()
    assert given.identity() == config.identity()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": []}, "methods is empty; valid: cross_entropy, "),
        ({"methods": ["vib", "vib"]}, "methods are named twice: vib, vib"),
        ({"methods": ["vibb"]}, "unknown method 'vibb'; did you mean 'vib'?"),
        ({"data": "minst"}, "unknown data set 'minst'; did you mean 'mnist'?"),
        ({"grids": {"vibb": [1.0]}}, "unknown method 'vibb'"),
        ({"networks": {"vibb": NetworkConfig()}}, "unknown method 'vibb'"),
        ({"options": {"tradess": {}}}, "unknown method 'tradess'"),
        ({"adversarial": "tradess"}, "unknown adversarial training 'tradess'"),
        ({"settings": "vibb"}, "unknown training settings 'vibb'; did you mean 'vib'?"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"first_seed": -1}, "first_seed must lie in 0..4294967296, got -1"),
        ({"first_seed": 2**32 + 1}, "first_seed must lie in 0..4294967296"),
        ({"validation_share": 1.0}, "validation_share must lie in (0, 1), got 1.0"),
        ({"validation_share": 0.0}, "validation_share must lie in (0, 1), got 0.0"),
        ({"betas": []}, "betas is empty; leave it out for each method's own grid"),
        ({"betas": [-1.0]}, "beta must be finite and at least 0, got -1.0"),
        ({"betas": [float("nan")]}, "beta must be finite and at least 0, got nan"),
        ({"betas": [float("inf")]}, "beta must be finite and at least 0, got inf"),
        ({"betas": [0.1, 0.1]}, "a beta is given twice in [0.1, 0.1]"),
        ({"methods": [["vib"]]}, "methods must be names, got ['vib']"),
        ({"betas": [[1.0]]}, "beta must be a number, got [1.0]"),
        ({"grids": {"vib": []}}, "betas is empty"),
        ({"grids": {"vib": [-2.0]}}, "beta must be finite and at least 0, got -2.0"),
    ],
)
def test_what_cannot_be_a_run_is_refused(settings, message):
    with pytest.raises(ConfigError) as raised:
        RunConfig(**settings)
    assert message in str(raised.value)


def test_the_smallest_and_largest_of_everything_are_accepted():
    config = RunConfig(seeds=1, first_seed=2**32, validation_share=0.5, betas=[0.0])
    assert config.resolve().members("vib") == [Member("vib", 0.0, 2**32)]


def test_there_is_one_zero():
    config, other = (RunConfig(methods=["vib"], betas=[zero]).resolve() for zero in (-0.0, 0.0))
    assert config.identity() == other.identity()
    assert {member.key for member in config.members("vib")} >= {"vib-0.0-0"}
    assert Member("vib", -0.0, 0).key == "vib-0.0-0"


def test_more_models_than_one_run_may_have_are_refused():
    betas = [0.01 * (1 + i) for i in range(100)]
    assert len(RunConfig(methods=["vib"], betas=betas, seeds=1000).resolve().grids["vib"]) == 100
    for config in (
        RunConfig(methods=["vib"], betas=betas, seeds=1001),
        RunConfig(methods=["vib", "aib"], betas=betas, seeds=501),
        RunConfig(seeds=10**12),
    ):
        with pytest.raises(ConfigError, match=r"this run has [\d,]+ models, more than the 100,000"):
            config.resolve()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": []}, "evaluate.eps must be radii in (0, 1] for images in [0, 1], got []"),
        ({"eps": [0.0]}, "evaluate.eps must be radii"),
        ({"eps": [0.1, 1.5]}, "got [0.1, 1.5]"),
        ({"eps": [float("nan")]}, "evaluate.eps must be radii"),
        ({"pgd_steps": 0}, "evaluate.pgd_steps must be at least 1, got 0"),
        ({"pgd_restarts": 0}, "evaluate.pgd_restarts must be at least 1, got 0"),
        ({"samples": 0}, "evaluate.samples must be at least 1, got 0"),
        ({"attack_images": -1}, "attack_images >= 0 and information_samples >= 2, got -1 and 2000"),
        ({"information_samples": 1}, "information_samples >= 2, got 1000 and 1"),
        ({"noise_std": 0.0}, "evaluate.noise_std must be positive and finite, got 0.0"),
        ({"noise_std": float("inf")}, "evaluate.noise_std must be positive and finite, got inf"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, message):
    with pytest.raises(ConfigError) as raised:
        EvaluateConfig(**settings)
    assert message in str(raised.value)


def test_the_radius_of_short_tables_is_the_middle_one():
    EvaluateConfig(eps=[1.0], attack_images=0, information_samples=2)
    assert EvaluateConfig(eps=[0.1, 0.2, 0.3]).middle_eps == 0.2
    assert EvaluateConfig(eps=[0.1, 0.2]).middle_eps == 0.2


def test_one_model_of_a_run():
    config = load_config(values={"methods": ["vib"], "betas": [0.1, 0.2], "seeds": 4})
    assert config.only(0.3, 7).members("vib") == [Member("vib", 0.3, 7)]
    plain = load_config(values={"methods": ["cross_entropy"]})
    assert plain.only(None, 2).members("cross_entropy") == [Member("cross_entropy", 0.0, 2)]
    assert plain.only(0, 2) == plain.only(None, 2)
    single = load_config(values={"methods": ["vib"], "betas": [0.1]})
    assert single.only(None, 0).members("vib") == [Member("vib", 0.1, 0)]


@pytest.mark.parametrize(
    ("methods", "beta", "seed", "message"),
    [
        (["vib", "aib"], 0.1, 0, "one model has one method, not vib, aib; name it with --method"),
        (["vib"], None, 0, "one model has one beta, not 0.001, "),
        (["vib"], -1.0, 0, "beta must be finite and at least 0, got -1.0"),
        (["cross_entropy"], 0.5, 0, "cross_entropy has no beta, got 0.5"),
        (["vib"], 0.1, -1, "seed must lie in 0..4294967296, got -1"),
        (["vib"], 0.1, 2**32 + 1, "seed must lie in 0..4294967296"),
    ],
)
def test_what_is_not_one_model_is_refused(methods, beta, seed, message):
    with pytest.raises(ConfigError) as raised:
        load_config(values={"methods": methods}).only(beta, seed)
    assert message in str(raised.value)


def test_a_resolved_configuration_has_a_grid_and_a_network_for_each_method():
    config = load_config(values={"methods": ["vib"]})
    for gap in ({"grids": {}}, {"networks": {}}):
        with pytest.raises(ConfigError, match="has no grid or no network for vib"):
            replace(config, **gap)
    with pytest.raises(ConfigError, match="unknown method 'vibb'"):
        replace(config, methods=["vibb"])
