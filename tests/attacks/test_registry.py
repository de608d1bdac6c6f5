"""Whether everything exists that belongs to an attack; errors say what to write, and where."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import narrows.attacks
from narrows.attacks import ATTACKS, Attack
from narrows.attacks.fgsm import FGSM

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "attacks.md").read_text()
FORMULA = re.compile(r"\n\n {4,}\S.*[=<|>+-].*\n")
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def attack_classes() -> list[type[Attack]]:
    """Every attack that is defined in the package, whether it is registered or not."""
    for module in pkgutil.iter_modules(narrows.attacks.__path__, "narrows.attacks."):
        importlib.import_module(module.name)
    pending, classes = [Attack], []
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__.startswith("narrows.attacks.") and not inspect.isabstract(kind):
            classes.append(kind)
    return sorted(classes, key=lambda kind: kind.__name__)


def missing(kind: type[Attack]) -> list[str]:
    """What an attack still needs, a sentence for each."""
    module = kind.__module__.rpartition(".")[2]
    text = inspect.cleandoc(kind.__doc__ or "")
    name = next((name for name, known in ATTACKS.items() if known is kind), module)
    source = getattr(kind, "source", "")
    needs = {
        f"an entry {name!r} in ATTACKS of narrows/attacks/__init__.py": name in ATTACKS,
        "its name in __all__ of narrows/attacks/__init__.py": kind.__name__
        in narrows.attacks.__all__,
        f"a test file tests/attacks/test_{module}.py": (TESTS / f"test_{module}.py").exists(),
        f"a line `{name}` in docs/attacks.md": f"`{name}`" in PAGE,
        "a class attribute source = 'authors year, arXiv id'": bool(source),
        "a class attribute randomness, such as 'none'": bool(getattr(kind, "randomness", "")),
        "a classmethod example() -> a small instance": "example" in vars(kind),
        "a displayed formula in its docstring": bool(FORMULA.search(text)),
        "a paragraph 'Source: ...' in its docstring": "Source:" in text,
        "the arXiv id of its source in the docstring": set(ARXIV.findall(source))
        <= set(ARXIV.findall(text)),
        "the arXiv id of its source in docs/attacks.md": all(
            number in PAGE for number in ARXIV.findall(source)
        ),
    }
    return [f"{kind.__name__} needs {need}" for need, met in needs.items() if not met]


@pytest.mark.parametrize("kind", attack_classes(), ids=lambda kind: kind.__name__)
def test_nothing_of_an_attack_is_missing(kind):
    sentences = missing(kind)
    assert not sentences, "\n".join(sentences)


def test_what_is_missing_is_named():
    class Half(FGSM):
        """No formula."""

    Half.__module__ = "narrows.attacks.half"
    sentences = "\n".join(missing(Half))
    for need in ("'half' in ATTACKS", "__all__", "test_half.py", "example()", "formula", "Source:"):
        assert need in sentences
