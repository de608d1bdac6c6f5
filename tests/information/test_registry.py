"""What an estimator must have: a file, an entry, a test file, a line of docs, a documentation."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import narrows.information
from narrows.information import ESTIMATORS
from narrows.registry import literal_names

SOURCE = Path(narrows.information.__file__).parent
TESTS = Path(__file__).parent
DOCS = TESTS.parents[1] / "docs" / "information.md"

# Functions that return estimates and read something else than samples.
NOT_OF_SAMPLES = {"critic_bound"}
RETURNED = {"Estimate", "tuple[Estimate, Estimate]"}
PARTS = {
    "a displayed formula": r"^    \S.*(=|<=|>=|~).*$",
    "Source:": r"^Source: [^>]*?\(\d{4}\)",
    "its units": r"\bnats\b",
    "Args:": r"^Args:$",
    "Returns:": r"^Returns:$",
    "Raises:": r"^Raises:$",
    "Example:": r"^Example:\n    >>> ",
}


def estimators_in_the_source() -> dict[str, str]:
    """Every public function that returns estimates, and its module."""
    functions = {}
    for path in SOURCE.glob("[a-z]*.py"):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef) or node.name[0] == "_" or not node.returns:
                continue
            if ast.unparse(node.returns) in RETURNED and node.name not in NOT_OF_SAMPLES:
                functions[node.name] = path.stem
    return functions


def missing(name: str, module: str | None) -> list[str]:
    """What an estimator lacks."""
    if module is None:
        return [f"{name}: a function of that name in a module of narrows/information/"]
    lacks = []
    if name not in ESTIMATORS:
        lacks.append("an entry in ESTIMATORS, narrows/information/registry.py")
    if name not in narrows.information.__all__:
        lacks.append("its name in __all__ of narrows/information/registry.py")
    if not (TESTS / f"test_{module}.py").exists():
        lacks.append(f"its tests, tests/information/test_{module}.py")
    if f"\n| `{name}` |" not in DOCS.read_text():
        lacks.append("a line in the table of docs/information.md")
    if name in ESTIMATORS:
        text = inspect.getdoc(ESTIMATORS[name].function) or ""
        lacks += [f"{part} in its docstring" for part in PARTS if not _has(text, part)]
    return [f"{name} lacks {what}" for what in lacks]


def _has(text: str, part: str) -> bool:
    return bool(re.search(PARTS[part], text, re.MULTILINE))


def test_every_estimator_has_all_that_belongs_to_it():
    source = estimators_in_the_source()
    names = [*ESTIMATORS, *(name for name in source if name not in ESTIMATORS)]
    assert [lack for name in names for lack in missing(name, source.get(name))] == []


def test_what_an_estimator_lacks_is_named():
    assert missing("nothing", None) == [
        "nothing: a function of that name in a module of narrows/information/"
    ]
    assert len(missing("nothing", "nowhere")) == 4


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_entry_describes_the_function_of_its_name(name):
    entry = ESTIMATORS[name]
    assert entry.function is getattr(narrows.information, name)
    assert set(entry.inputs) <= {"x", "z", "y", "mean", "scale", "logits"}
    assert set(entry.measures) <= {"I(X;Z)", "I(Z;Y)", "H(bin(Z))", "Renyi's I(X;Z)"}
    assert re.search(r"\(\d{4}\), \S", entry.source)
    assert entry.needs
    assert entry.claim in (entry.function.__doc__ or "")
    parameters = inspect.signature(entry.function).parameters
    assert entry.randomness == "none" or entry.randomness in parameters
    assert entry.example.information > 0


def test_the_names_can_be_read_without_importing_torch():
    assert literal_names("narrows.information.registry", "ESTIMATORS") == tuple(ESTIMATORS)


def test_an_entry_is_called_like_its_function():
    entry = ESTIMATORS["ksg"]
    x, z = entry.example.sample(100)
    assert entry(x, z, k=5) == narrows.information.ksg(x, z, k=5)
    assert entry.inputs == ("x", "z")
    assert entry.claim.startswith("Estimate I(X;Z) of two vectors")
