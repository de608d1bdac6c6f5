"""Nothing can be forgotten: whatever a registry has that no case walks is named here."""

import pytest

from narrows.attacks import ATTACKS
from narrows.cli import cli
from narrows.data import load
from narrows.methods import METHODS
from narrows.methods.adversarial import WRAPPERS
from narrows.models.networks import NETWORKS
from product.cases import (
    ATTACK_CASES,
    COMMAND_CASES,
    LARGE,
    METHOD_CASES,
    NO_COMMAND,
    SMALL,
    SMALLEST,
    WRAPPER_CASES,
)
from product.stand_ins import OWN, SHAPES
from product.walk import narrows

ENSEMBLES = ("standard", "reevaluation")


@pytest.mark.parametrize(
    ("registry", "cases"),
    [
        (METHODS, METHOD_CASES),
        (WRAPPERS, WRAPPER_CASES),
        ([*NETWORKS, "binary"], SMALLEST),
        (SMALLEST, [*SMALL, *LARGE, "binary"]),
        (OWN, SHAPES),
        ([*ATTACKS, *ENSEMBLES], [*ATTACK_CASES, *NO_COMMAND]),
        (cli.commands, {case.words.split()[0] for case in COMMAND_CASES}),
    ],
    ids=["methods", "wrappers", "networks", "sizes", "data", "attacks", "commands"],
)
def test_every_entry_has_its_case_and_every_case_its_entry(registry, cases):
    assert sorted(set(registry) - set(cases)) == [], "write a line in tests/product for these"
    assert sorted(set(cases) - set(registry)) == [], "these are gone; take their lines out"


def options_of(command: str) -> list[str]:
    return [option.opts[0] for option in cli.commands[command].params if option.opts[0][0] == "-"]


@pytest.mark.parametrize("command", cli.commands)
def test_every_option_is_said_in_some_case(command):
    said = {
        word
        for case in COMMAND_CASES
        for word in case.words.split()
        if case.words.split()[0] == command
    }
    assert [option for option in options_of(command) if option not in said] == []


@pytest.mark.parametrize("command", cli.commands)
def test_help_names_every_option(command):
    said = narrows(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert [option for option in options_of(command) if option not in said.out] == []


def test_help_of_the_program_names_every_command():
    assert [command for command in cli.commands if command not in narrows("--help").out] == []


@pytest.mark.parametrize("name", [name for name, (*_, quick) in SHAPES.items() if quick])
def test_stand_ins_have_the_shapes_of_the_data_in_the_package(name):
    train, shape = load(name).train, SHAPES[name]
    assert (tuple(train.shape), train.classes, train.image) == shape[:3]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_stand_ins_have_the_shapes_of_the_data_in_files(name, data_root):
    train, shape = OWN[name](data_root).train, SHAPES[name]
    assert (tuple(train.shape), train.classes, train.image) == shape[:3]
