"""Names are read from the source, and are those that an import would give."""

from importlib import import_module

import pytest

import narrows
from narrows.registry import _EXPORTED, exported_names, literal_names, module_of

REGISTRIES = [
    ("narrows.methods", "METHODS"),
    ("narrows.methods.adversarial", "WRAPPERS"),
    ("narrows.attacks", "ATTACKS"),
    ("narrows.data", "DATASETS"),
    ("narrows.models.networks", "NETWORKS"),
    ("narrows.audit.checks", "CHECKS"),
]


@pytest.mark.parametrize(("module", "variable"), REGISTRIES)
def test_the_keys_that_are_read_are_those_of_the_registry(module, variable):
    assert literal_names(module, variable) == tuple(getattr(import_module(module), variable))


@pytest.mark.parametrize("module", _EXPORTED)
def test_public_names_are_found_where_they_are(module):
    for name in literal_names(module, "__all__"):
        home = module_of(name)
        assert home is not None
        assert getattr(narrows, name) is getattr(import_module(home), name)


def test_all_public_names_are_listed_once():
    names = exported_names()
    assert names == sorted(set(names))
    assert {"VIB", "PGD", "Run", "NarrowsError"} <= set(names)
    assert module_of("no_such_name") is None


def test_a_variable_that_is_not_there_is_named():
    with pytest.raises(LookupError, match=r"narrows\.methods assigns no METHODZ"):
        literal_names("narrows.methods", "METHODZ")
