"""Names of registries and exports, read from the source, because importing torch takes seconds.

`narrows run --help` lists the methods and `dir(narrows)` the public names. Both must be quick, and
both must know a new method without being edited. So the literals in the packages are parsed and
nothing is imported.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

__all__ = ["exported_names", "literal_names", "module_of"]

# Packages whose public names can be imported from `narrows` itself.
_EXPORTED = (
    "narrows.methods",
    "narrows.methods.adversarial",
    "narrows.attacks",
    "narrows.models",
    "narrows.data",
    "narrows.training",
    "narrows.runs",
    "narrows.types",
    "narrows.errors",
)


@cache
def literal_names(module: str, variable: str) -> tuple[str, ...]:
    """The keys of a dict, or the items of a list, that a module assigns to a variable.

    Args:
        module: dotted name, which is not imported.
        variable: assigned once at the top level of the module, from a literal.

    Example:
        >>> literal_names("narrows.methods", "METHODS")[:3]
        ('cross_entropy', 'dropout', 'label_smoothing')
    """
    for node in ast.parse(_source(module)).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            return _names(node.value)  # type: ignore[union-attr]
    raise LookupError(f"{module} assigns no {variable}")


@cache
def module_of(name: str) -> str | None:
    """The package that a public name of `narrows` is imported from; `None` if it is not public."""
    for module in _EXPORTED:
        if name in literal_names(module, "__all__"):
            return module
    return None


def exported_names() -> list[str]:
    """All public names of `narrows`, sorted."""
    return sorted({name for module in _EXPORTED for name in literal_names(module, "__all__")})


def _source(module: str) -> str:
    parent, _, name = module.rpartition(".")
    root = Path(__file__).parent.joinpath(*parent.split(".")[1:])
    package, file = root / name / "__init__.py", root / f"{name}.py"
    return (package if package.exists() else file).read_text("utf-8")


def _names(value: ast.expr | None) -> tuple[str, ...]:
    items = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
    return tuple(str(item.value) for item in items if isinstance(item, ast.Constant))
