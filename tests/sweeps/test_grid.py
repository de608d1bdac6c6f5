"""Grids expand lazily, and say what they expand to."""

import itertools
import time

import pytest

from narrows.errors import ConfigError
from narrows.sweeps import Sweep, read_grid
from narrows.sweeps.grid import check_size

GRID = """
methods = ["cross_entropy", "vib"]
betas = [0.01, 0.1, 1.0]
seeds = 5
members_per_run = 7
train.epochs = 2

[grid]
data = ["digits", "twelve-bit"]
network.bottleneck = [2, 4]
adversarial = ["none"]

[attacks.pgd]
eps = [0.05, 0.1]
steps = 3
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return path

    return write


def test_every_combination_is_one_run_or_a_few(written):
    sweep = read_grid(written(GRID))
    units = list(sweep.units())
    # Seven models hold all seeds of cross-entropy, and two seeds of three betas.
    assert (sweep.kinds, sweep.runs, sweep.members) == (8, 4 * (1 + 3), 4 * (5 + 15))
    assert len(units) == sweep.runs
    assert sum(unit.members for unit in units) == sweep.members
    assert len({unit.config().identity() for unit in units}) == sweep.runs
    configs = [unit.config() for unit in units]
    assert [config.methods[0] for config in configs] == ["cross_entropy"] * 4 + ["vib"] * 12
    assert [config.data for config in configs[4:]] == ["digits"] * 6 + ["twelve-bit"] * 6
    assert {config.networks["vib"].bottleneck for config in configs[4:7]} == {2}
    assert {config.adversarial for config in configs} == {None}
    assert not any(config.evaluate.attack for config in configs)
    seeds = [(c.first_seed, c.seeds) for c in configs if c.methods == ["vib"]][:3]
    assert seeds == [(0, 2), (2, 2), (4, 1)]
    assert units[4].label == "data digits, bottleneck 2, adversarial None, vib, seeds 0 to 1"


def test_options_go_over_the_file(written):
    sweep = read_grid(written(GRID), ["seeds=1", "grid.data=[digits]", "train.epochs=9"])
    assert (sweep.seeds, sweep.kinds) == (1, 4)
    assert next(sweep.units()).config().train.epochs == 9


def test_the_same_run_as_by_hand(written):
    """A sweep's run is found again by `narrows run` with the same settings."""
    from narrows.runs import load_config

    text = 'methods = ["vib"]\nseeds = 2\nbetas = [0.1]\n[grid]\ndata = ["digits"]\n'
    (unit,) = read_grid(written(text)).units()
    values = {"methods": ["vib"], "seeds": 2, "betas": [0.1], "data": "digits"}
    assert unit.config() == load_config(values=values)


def test_millions_are_counted_and_not_built():
    axes = {f"train.key{index}": list(range(100)) for index in range(4)}
    started = time.perf_counter()
    sweep = Sweep({}, ["vib"], seeds=10**9, axes=axes)
    assert sweep.members == 100**4 * 10**9 * 6
    assert len(list(itertools.islice(sweep.units(), 3))) == 3
    assert time.perf_counter() - started < 1
    with pytest.raises(ConfigError, match=r"has 600,000,000,000,000,000 models .* --yes"):
        check_size(sweep, yes=False)
    check_size(sweep, yes=True)
    check_size(Sweep({}, ["vib"]), yes=False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('methods = []', "the grid is empty: methods has no values"),
        ('[grid]\ndata = []', "the grid is empty: data has no values"),
        ('methods = ["vib"]\nbetas = []', "the grid is empty: vib has no betas"),
        ("seeds = 0", "the grid is empty: seeds is 0"),
        ("seeds = -1", "seeds must be a whole number, got -1"),
        ('seeds = "many"', "seeds must be a whole number, got 'many'"),
        ("members_per_run = 0", "members_per_run must be at least 1, got 0"),
        ('methods = "vib"', "methods must be a list"),
        ('methods = ["vibb"]', "vib"),
        ('methods = ["vib"]\nbetas = 3', "betas must be a list"),
        ('[grid]\ndata = "digits"', "data must be a list of values, got 'digits'"),
        ('[grid]\ndata = ["digits", "digits"]', "data has the value \"digits\" twice"),
        ("[grid]\nseeds = [1, 2]", "seeds stands outside of"),
        ("[grid]\nbetas = [[1.0]]", "betas stands outside of"),
        ("[grid]\n\"train.epoch\" = [1, 2]", "epochs"),
        ("methods = [\"vib\"]\n[grid]\n\"options.ceb.samples\" = [1, 2]", "no effect on vib here"),
        ("attacks.fgsm.eps = 0.1\n[grid]\n\"evaluate.eps\" = [[0.1], [0.2]]", "no effect on cross"),
        ("grid = 3", "grid must be a table"),
        ("attacks = 3", "attacks must be a table"),
        ("attacks.pgd = 3", "attacks.pgd must be a table"),
        ("[attacks.pdg]\neps = 0.1", "pgd"),
        ("[attacks.pgd]\nsteps = 3", "eps"),
        ("[attacks.pgd]\neps = 0.1\nstep = 3", "step"),
        ("[attacks.pgd]\neps = 0.1\nmode = \"means\"", "mode must be mean or sample"),
        ("[attacks.pgd]\neps = 0.1\nimages = 0", "images must be at least 1"),
        ("[attacks.standard]\neps = 0.1", "standard"),
        ("epoch = 3", "epoch"),
        ("methods = [", "is not valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused_in_one_clear_line(text, why, written):
    with pytest.raises(ConfigError) as error:
        read_grid(written(text))
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_without_effect_on_a_method_gives_it_no_further_runs(written):
    keys = """methods = ["cross_entropy", "vib", "aib"]
        seeds = 1
        betas = [0.1]
        [grid]
        options.vib.samples = [1, 2]
        options.mart.steps = [1, 2]
        train.critic_learning_rate = [0.1, 0.01]
        train.epochs = [1, 2, 3]
        adversarial = ["none"{mart}]
    """
    plain = read_grid(written(keys.format(mart="").replace("options.mart.steps = [1, 2]", "")))
    runs = [unit.method for unit in plain.units()]
    assert [runs.count(method) for method in plain.methods] == [3, 6, 6]
    assert (plain.runs, plain.members, plain.kinds) == (15, 15, 15)
    assert len({unit.config().identity() for unit in plain.units()}) == 15
    assert read_grid(written(keys.format(mart=', "mart"'))).runs == 2 * 2 * 15


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_grid(tmp_path / "none.toml")
