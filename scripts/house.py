"""Measure the structure of the source: names, imports, docstrings and tests.

    python scripts/house.py            # a line for each measure
    python scripts/house.py --list     # and every place behind it

`tests/test_house.py` holds the measures that have reached their goal to it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src" / "narrows", ROOT / "tests"

# Names that say nothing of what they hold. Comprehension variables count as well.
VAGUE = frozenset(
    """
    about another asked either few found given_ had here it many more most one other_ own said some
    that there these thing things this those what which
    """.split()  # noqa: SIM905
)
FEWEST_ARGUMENTS = 3
_SOURCE = re.compile(r"arXiv|\(\d{4}\)|ICLR|NeurIPS|ICML|CVPR")


@dataclass
class Measure:
    """A number, what it is out of, and the places that it counts."""

    title: str
    places: list[str] = field(default_factory=list)
    total: int = 0

    def __str__(self) -> str:
        share = f" of {self.total} ({len(self.places) / self.total:.1%})" if self.total else ""
        return f"{self.title}: {len(self.places)}{share}"


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package with its syntax tree."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    parts = ("narrows", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def vague_names() -> Measure:
    """Local names that say nothing, among all assignments to names."""
    measure = Measure("assignments to names that say nothing")
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                measure.total += 1
                if node.id in VAGUE:
                    measure.places.append(f"{name_of(path)}:{node.lineno} {node.id}")
    return measure


def imports() -> dict[str, set[str]]:
    """Which module imports which, `TYPE_CHECKING` blocks and functions included."""
    known = {name_of(path) for path, _ in modules()}
    graph: dict[str, set[str]] = {}
    for path, tree in modules():
        targets: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
                targets |= inner or ({node.module} & known)
            elif isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names} & known
        graph[name_of(path)] = targets - {name_of(path)}
    return graph


def private_imports() -> Measure:
    """Imports of a private module of another package."""
    measure = Measure("imports of a private module of another package")
    for module, targets in imports().items():
        for target in sorted(targets):
            package, _, last = target.rpartition(".")
            if last.startswith("_") and not module.startswith(package):
                measure.places.append(f"{module} -> {target}")
    return measure


def cycles() -> Measure:
    """Modules that import each other, directly or through others."""
    graph = imports()
    measure = Measure("modules in import cycles")
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        stack = list(graph[start])
        while stack:
            module = stack.pop()
            if module not in seen:
                seen.add(module)
                stack += graph.get(module, ())
        reach[start] = seen
    measure.places = [module for module in graph if module in reach[module]]
    # The package's own __init__ names everything, lazily.
    measure.places = [place for place in measure.places if place != "narrows"]
    return measure


def untyped_dicts() -> Measure:
    """`dict[str, Any]` in signatures and fields that other packages can see."""
    measure = Measure("dict[str, Any] in public signatures and fields")
    for path, tree in modules():
        for node in tree.body:
            for owner, annotation in _public_annotations(node):
                if re.search(r"\b(dict|Mapping)\[str, Any\]", ast.unparse(annotation)):
                    measure.places.append(f"{name_of(path)}:{annotation.lineno} {owner}")
    return measure


def _public_annotations(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for annotation in [*(a.annotation for a in arguments), node.returns]:
            if annotation is not None:
                yield node.name, annotation
    elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        for inner in node.body:
            if isinstance(inner, ast.AnnAssign):
                yield node.name, inner.annotation
            else:
                yield from ((f"{node.name}.{n}", a) for n, a in _public_annotations(inner))


def missing_arguments() -> Measure:
    """Public functions of three arguments or more whose docstring has no `Args:`."""
    measure = Measure(f"public functions of {FEWEST_ARGUMENTS} arguments or more without Args:")
    for path, tree in modules():
        for owner, node in _public_functions(tree):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in arguments)
            if count < FEWEST_ARGUMENTS or path.parent.name == "commands":
                continue
            measure.total += 1
            if "Args:" not in (ast.get_docstring(node) or ""):
                measure.places.append(f"{name_of(path)}:{node.lineno} {owner}")
    return measure


def _public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def undocumented_classes() -> Measure:
    """Methods and attacks whose own docstring lacks a displayed formula or a source."""
    from narrows.attacks import ATTACKS
    from narrows.methods import METHODS
    from narrows.methods.adversarial import WRAPPERS

    measure = Measure("classes of methods and attacks without formula and source in help()")
    for name, kind in {**METHODS, **WRAPPERS, **ATTACKS}.items():
        text = kind.__doc__ or ""
        measure.total += 1
        has_formula = bool(re.search(r"^\s{4,}\S.*[=<|+(\-].*$", text, re.M)) and "\n\n" in text
        if not (has_formula and _SOURCE.search(text)):
            measure.places.append(f"{name}: {kind.__module__}.{kind.__qualname__}")
    return measure


def unmirrored_modules() -> Measure:
    """Modules without a test file of the same name in the same place."""
    measure = Measure("modules without a mirrored test file")
    for path, tree in modules():
        if path.name == "__init__.py" or not any(
            isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body
        ):
            continue
        measure.total += 1
        relative = path.relative_to(SOURCE)
        test = TESTS / relative.parent / f"test_{relative.stem.lstrip('_')}.py"
        if not test.exists():
            measure.places.append(str(relative))
    return measure


def test_ratio(package: str) -> float:
    """Lines of tests for each line of source of a package."""

    def lines(folder: Path) -> int:
        return sum(len(path.read_text().splitlines()) for path in folder.rglob("*.py"))

    return lines(TESTS / package) / max(1, lines(SOURCE / package))


MEASURES = (
    vague_names,
    private_imports,
    cycles,
    untyped_dicts,
    missing_arguments,
    undocumented_classes,
    unmirrored_modules,
)


@click.command()
@click.option("--list", "listed", is_flag=True, help="Print every place that counts.")
def main(listed: bool) -> None:
    """Print every measure."""
    for measure in (make() for make in MEASURES):
        click.echo(measure)
        for place in measure.places if listed else ():
            click.echo(f"    {place}")
    for package in ("report", "audit", "runs", "experiments", "papers"):
        click.echo(f"lines of tests for each line of {package}: {test_ratio(package):.2f}")


if __name__ == "__main__":
    main()
