"""Every recipe in the package: as it is up to its first step, and small from end to end."""

import re
import tomllib

import pytest

from narrows import Run
from product.recipes import PACKAGED, SHRUNK, made, words
from product.walk import check_measured, methods_of, narrows, settings, watched


def test_every_recipe_has_its_case_and_every_case_its_recipe():
    assert sorted(PACKAGED) == sorted(SHRUNK)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_recipe_as_it_is_begins_to_train(name, tmp_path):
    with watched(break_at=1):
        said = narrows("run", PACKAGED[name], "--out", tmp_path, "--quiet", "--seeds", "1")
    assert said.code == 130, said.err
    (folder,) = tmp_path.iterdir()
    wanted, stored = tomllib.loads(PACKAGED[name].read_text()), Run.open(folder).config
    for key in ("data", "methods", "options", "adversarial", "validation_share"):
        assert getattr(stored, key) == wanted.get(key, getattr(stored, key))
    for method, grid in wanted.get("grids", {}).items():
        assert stored.grids[method] == grid
    for section in ("train", "evaluate"):
        for key, value in wanted.get(section, {}).items():
            assert getattr(getattr(stored, section), key) == value
    for key, value in wanted.get("network", {}).items():
        assert all(getattr(network, key) == value for network in stored.networks.values())


# The settings that the comments of a recipe name: one case for each line.
NAMED = [
    (name, " ".join(named))
    for name, path in PACKAGED.items()
    for line in path.read_text().splitlines()
    if line.startswith("#") and (named := re.findall(r"--set (\S+)", line))
]


@pytest.mark.parametrize(("name", "named"), NAMED)
def test_what_a_recipe_says_that_may_be_set_begins_to_train(name, named, tmp_path):
    small = [*settings(SHRUNK[name]), "--out", tmp_path, "--quiet", "--seeds", "1"]
    with watched(break_at=1):
        said = narrows("run", PACKAGED[name], *small, *settings(named))
    assert said.code == 130, said.err


@pytest.mark.parametrize("name", PACKAGED)
def test_a_recipe_runs_from_end_to_end(name, shelf):
    folder, wanted = made(shelf, name), tomllib.loads(PACKAGED[name].read_text())
    assert methods_of(folder) == wanted["methods"]
    attacked = wanted["data"] != "twelve-bit" and wanted.get("evaluate", {}).get("attack", True)
    for method in wanted["methods"]:
        betas = words(name).betas[method]
        check_measured(folder, method, betas, attacked=attacked)
    assert Run.open(folder).config.options == wanted.get("options", {})
