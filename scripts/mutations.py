"""Change one operator or condition of the source at a time, and see whether a test notices.

    python scripts/mutations.py audit report --count 200 --seed 0 [--out mutations.json]

A mutation replaces a comparison, an arithmetic or a Boolean operator, drops a `not`, or makes a
condition constant. Default values, constants and texts are left alone. Each mutant of a module is
judged by the module's mirrored test file alone (`src/narrows/a/b.py` by `tests/a/test_b.py`), or by
the tests of the package where there is none. A process is forked for each mutant after the heavy
libraries have been imported once.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src" / "narrows", ROOT / "tests"

_COMPARISONS = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NOTICED, _SURVIVED, _TIMEOUT = "noticed", "survived", "timeout"


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: path below `src/narrows`.
        line: of the change.
        before: the expression as it is.
        after: the expression as it becomes.
        tests: the tests that judge it, below `tests`.
    """

    module: str
    line: int
    before: str
    after: str
    tests: str


def mutations(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node that can be changed, and what it becomes."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        for part in _left_alone(node)
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
            yield node, _with(node, ops=[_COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            if not any(isinstance(side, ast.JoinedStr) for side in (node.left, node.right)):
                yield node, _with(node, op=_ARITHMETIC[type(node.op)]())
        elif isinstance(node, ast.BoolOp):
            yield node, _with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, node.operand
        elif isinstance(node, ast.IfExp):
            yield node, _with(node, test=ast.Constant(value=True))
        elif isinstance(node, ast.If):
            yield node.test, ast.Constant(value=False)


def _left_alone(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, default values, decorators."""
    if isinstance(node, ast.FunctionDef):
        yield from (*node.args.defaults, *filter(None, node.args.kw_defaults))
        yield from (*node.decorator_list, *([node.returns] if node.returns else []))
    elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        yield node.annotation


def _with(node: ast.AST, **changes: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else super().generic_visit(node)


def tests_of(module: Path) -> Path:
    """The mirrored test file of a module, or the tests of its package."""
    relative = module.relative_to(SOURCE)
    mirrored = TESTS / relative.parent / f"test_{relative.stem.lstrip('_')}.py"
    return mirrored if mirrored.exists() else TESTS / relative.parts[0]


def choose(packages: list[str], count: int, seed: int) -> list[tuple[Mutant, str]]:
    """Draw mutants at random from all that the packages have, with their source."""
    sites = []
    for package in packages:
        for path in sorted((SOURCE / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            sites += [(path, index) for index, _ in enumerate(mutations(tree))]
    chosen = random.Random(seed).sample(sites, min(count, len(sites)))
    return [_make(path, index) for path, index in chosen]


def _make(path: Path, index: int) -> tuple[Mutant, str]:
    tree = ast.parse(path.read_text())
    node, replacement = list(mutations(tree))[index]
    before, after = ast.unparse(node), ast.unparse(replacement)
    line = getattr(node, "lineno", 0)
    changed = ast.fix_missing_locations(_Replace(node, replacement).visit(tree))
    tests = str(tests_of(path).relative_to(TESTS))
    return (
        Mutant(str(path.relative_to(SOURCE)), line, before, after, tests),
        ast.unparse(changed),
    )


def judge(mutant: Mutant, source: str, package: Path, seconds: float) -> str:
    """Run the mutant's tests in a forked process on a copy of the package."""
    file = package / "narrows" / mutant.module
    original = file.read_text()
    file.write_text(source)
    try:
        return _run_forked(mutant, package, seconds)
    finally:
        file.write_text(original)


def check_baseline(mutants: list[Mutant], package: Path, seconds: float) -> None:
    """Make sure that the tests pass on the source as it is.

    Raises:
        ClickException: naming those that do not.
    """
    for tests in sorted({mutant.tests for mutant in mutants}):
        if _run_forked(Mutant("", 0, "", "", tests), package, seconds) != _SURVIVED:
            raise click.ClickException(f"tests/{tests} fails or is too slow without a mutation")


def _run_forked(mutant: Mutant, package: Path, seconds: float) -> str:
    child = os.fork()
    if not child:
        _run_tests(mutant, package)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _SURVIVED if os.waitstatus_to_exitcode(status) == 0 else _NOTICED
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return _TIMEOUT


def _run_tests(mutant: Mutant, package: Path) -> None:
    import pytest

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(package))
    os.environ["PYTHONPATH"] = str(package)
    os.chdir(ROOT)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-n0", str(TESTS / mutant.tests)])
    os._exit(int(code))


@click.command()
@click.argument("packages", nargs=-1, required=True)
@click.option("--count", default=200, show_default=True, help="Number of mutants.")
@click.option("--seed", default=0, show_default=True, help="Of the choice.")
@click.option(
    "--seconds", default=120.0, show_default=True, help="After which a mutant is noticed."
)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for the results.")
def main(
    packages: tuple[str, ...], count: int, seed: int, seconds: float, out: Path | None
) -> None:
    """Mutate PACKAGES of src/narrows, and print the mutants that no test notices."""
    import altair  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        shutil.copytree(SOURCE, package / "narrows", ignore=shutil.ignore_patterns("__pycache__"))
        chosen = choose(list(packages), count, seed)
        check_baseline([mutant for mutant, _ in chosen], package, seconds)
        for number, (mutant, source) in enumerate(chosen, start=1):
            verdict = judge(mutant, source, package, seconds)
            results.append({**asdict(mutant), "verdict": verdict})
            if verdict == _SURVIVED:
                place = f"{mutant.module}:{mutant.line}"
                click.echo(f"[{number}] {place}: {mutant.before} -> {mutant.after}")
    noticed = sum(result["verdict"] != _SURVIVED for result in results)
    click.echo(f"{noticed} of {len(results)} mutants noticed ({noticed / len(results):.1%})")
    if out is not None:
        out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
