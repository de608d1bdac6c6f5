"""What belongs to a method beside its code: one test names whatever is missing."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import narrows.methods
from narrows.methods import METHODS, Method, adversarial
from narrows.methods.adversarial import WRAPPERS

TESTS = Path(__file__).parent
SOURCE = Path(narrows.methods.__file__).parent
PAGE = TESTS.parents[1] / "docs" / "methods.md"

# Public modules of methods that are not in a registry, and why.
ELSEWHERE = {
    "beta_vae": "it predicts no labels",
    "catalogue": "it is no method",
}


def public_modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("[a-z]*.py") if path.stem not in ELSEWHERE)


def registered(stem: str) -> type[Method] | None:
    """The entry of a registry that the module of that name defines."""
    kinds = {**METHODS, **WRAPPERS}.values()
    return next((kind for kind in kinds if kind.__module__.endswith(f".{stem}")), None)


def missing(path: Path) -> list[str]:
    """What a method's module lacks, each as the thing to write."""
    tests = TESTS / path.parent.relative_to(SOURCE) / f"test_{path.stem}.py"
    absent = [] if tests.exists() else [str(tests.relative_to(TESTS.parents[1]))]
    kind = registered(path.stem)
    if kind is None:
        return [*absent, "an entry in METHODS or WRAPPERS"]
    name = next(name for name, entry in {**METHODS, **WRAPPERS}.items() if entry is kind)
    package = adversarial if name in WRAPPERS else narrows.methods
    text, source = inspect.getdoc(kind) or "", getattr(kind, "source", "")
    written = {
        f"{kind.__name__} in __all__": kind.__name__ in package.__all__,
        f"a row `{name}` in docs/methods.md": f"| `{name}` |" in PAGE.read_text(),
        "the attribute `source`": bool(source),
        "the loss, indented, in the docstring": bool(re.search(r"\n\n    \S", text)),
        "'Source:' in the docstring, with what `source` says": cites(text, source),
        "'Example:' in the docstring": "Example:" in text,
        "`default_betas`, or `has_beta = False`": kind.has_beta == bool(kind.default_betas),
    }
    return absent + [thing for thing, there in written.items() if not there]


def cites(text: str, source: str) -> bool:
    """Whether a docstring has a source, whose authors, year and number are the short ones."""
    long = " ".join(text.partition("Source:")[2].split())
    parts = re.match(r"(\w+).*? (\d{4})(?:, (arXiv \d+\.\d+))?", source)
    author, year, number = parts.groups() if parts else ("", "", None)
    return bool(parts) and author in long and f"({year})" in long and (number or "") in long


@pytest.mark.parametrize("path", public_modules(), ids=lambda path: path.stem)
def test_nothing_is_missing_beside_a_method(path):
    pieces = missing(path)
    assert not pieces, f"{path.name} lacks:\n  " + "\n  ".join(pieces)


def test_registries_are_literals_that_can_be_read_without_importing():
    for package, name in ((narrows.methods, "METHODS"), (adversarial, "WRAPPERS")):
        tree = ast.parse(Path(package.__file__).read_text())
        (node,) = [n for n in tree.body if isinstance(n, ast.AnnAssign) and n.target.id == name]
        assert isinstance(node.value, ast.Dict)
