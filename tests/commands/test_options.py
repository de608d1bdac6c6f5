"""Options that several commands share."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from narrows.cli import cli
from narrows.commands import run, train
from narrows.commands._options import (
    ANY_FILE,
    json_option,
    listed,
    names,
    numbers,
    print_json,
    run_values,
)
from narrows.errors import ConfigError

CONTEXT, OPTION = click.Context(click.Command("x")), click.Option(["--betas"])


def test_lists_of_numbers_and_words():
    assert numbers(CONTEXT, OPTION, "0.01,1e3, 2") == [0.01, 1000.0, 2.0]
    assert numbers(CONTEXT, OPTION, None) is None
    assert names(CONTEXT, OPTION, "vib, aib") == ["vib", "aib"]
    assert names(CONTEXT, OPTION, None) is None
    for text in ("", "1,,2", "a", "1;2"):
        with pytest.raises(click.BadParameter, match="expected comma-separated numbers"):
            numbers(CONTEXT, OPTION, text)


def test_paths_need_not_exist():
    assert ANY_FILE.convert("no/such", None, None) == Path("no/such")
    assert ANY_FILE.convert(Path("there"), None, None) == Path("there")
    for value in ("", "a\0b", "a\udcffb", 3):
        with pytest.raises(click.BadParameter, match="expected a path in UTF-8"):
            ANY_FILE.convert(value, None, None)


def test_options_become_keys_of_a_configuration():
    given = {"network": "cnn", "epochs": 3, "eps": [0.1], "seeds": 2, "data": None}
    assert run_values(given, []) == {
        "network": {"name": "cnn"},
        "train": {"epochs": 3},
        "evaluate": {"eps": [0.1]},
        "seeds": 2,
    }
    assert run_values({"epochs": None}, ["train.epochs=3"]) == {}


@pytest.mark.parametrize(
    ("given", "override"),
    [
        ({"epochs": 3}, "train.epochs=3"),
        ({"network": "cnn"}, "network.name=mlp"),
        ({"eps": [0.1]}, "evaluate.eps=[0.2]"),
        ({"seeds": 1}, "seeds=2"),
    ],
)
def test_a_key_that_an_option_has_set_is_not_set_again(given, override):
    with pytest.raises(ConfigError, match="is given twice, by an option of its own and by --set"):
        run_values(given, [override])


def test_both_commands_list_the_same_options_in_one_order():
    shared = [
        [option.name for option in command.params if option.name not in alone]
        for command, alone in (
            (run.command, {"methods", "betas", "seeds", "eps"}),
            (train.command, {"method", "beta", "seed"}),
        )
    ]
    assert shared[0] == shared[1]
    assert shared[0][0] == "config"


def test_help_names_what_the_registries_list():
    text = CliRunner().invoke(run.command, ["--help"]).output
    for name in listed("narrows.data", "DATASETS", "binary").split(", "):
        assert name in text


@dataclass
class Measured:
    nats: float
    parts: dict[str, tuple[float, ...]]


CONTENT = Measured(math.nan, {"a": (1.0, math.inf), "b": (-math.inf,)})


def talking(content: object, **paths: Path) -> click.Command:
    """A command that prints the content as JSON while code of the user's own prints too."""

    @click.command
    @json_option
    @click.option("--markdown", is_flag=True)
    def command(markdown: bool, as_json: bool) -> None:
        sys.stdout.write("of the user's own\n")
        if as_json:
            print_json(content, **paths)

    return command


@pytest.mark.parametrize(
    ("content", "paths", "document"),
    [
        (CONTENT, {}, {"nats": None, "parts": {"a": [1.0, None], "b": [None]}}),
        (
            {"a": 1},
            {"folder": Path("x/y")},
            {"folder": "x/y", "a": 1},
        ),
        ([Path("x"), "\udcff", "µ", 2**63, None], {}, ["x", "\udcff", "µ", 2**63, None]),
        ([], {}, []),
    ],
)
def test_json_is_one_document_alone(content, paths, document):
    said = CliRunner().invoke(talking(content, **paths), ["--json"])
    assert (said.exit_code, said.stderr) == (0, "of the user's own\n")
    assert json.loads(said.stdout, parse_constant=pytest.fail) == document
    assert said.stdout.isascii()  # so that a terminal of any encoding can hold it


def test_without_json_a_command_prints_as_it_did():
    said = CliRunner().invoke(talking(CONTENT), [])
    assert (said.stdout, said.stderr) == ("of the user's own\n", "")


def test_json_and_markdown_exclude_each_other():
    said = CliRunner().invoke(talking(CONTENT), ["--json", "--markdown"])
    assert isinstance(said.exception, ConfigError)
    assert said.stdout == ""


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_it(name):
    (option,) = (param for param in cli.commands[name].params if param.name == "as_json")
    assert option.opts == ["--json"]
