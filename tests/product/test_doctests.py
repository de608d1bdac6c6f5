"""Every example in the docstrings of the package runs as it is printed."""

import doctest
import importlib
import pkgutil

import pytest

import narrows

MODULES = [module.name for module in pkgutil.walk_packages(narrows.__path__, "narrows.")]


def with_examples() -> list[str]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [
        name
        for name in MODULES
        if any(test.examples for test in finder.find(importlib.import_module(name)))
    ]


@pytest.mark.parametrize("name", with_examples())
def test_examples_of_a_module(name, capsys):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0, capsys.readouterr().out
