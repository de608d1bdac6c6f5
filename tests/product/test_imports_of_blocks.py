"""Each printed block of Python imports what it uses, so that it can be copied by itself."""

import ast
import builtins

import pytest

import narrows
from narrows import information, training
from product.documents import PAGES, Block, python_blocks

BLOCKS = [block for page in PAGES for block in python_blocks(page)]
IMPORTABLE = {*narrows.__all__, *information.__all__, *training.__all__}
IMPORTABLE |= {"torch", "nn", "np", "numpy", "F", "Path", "math", "narrows", "audit"}


def used(tree: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def bound(tree: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
             and isinstance(node.ctx, ast.Store)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_a_block_imports_what_it_uses(block: Block):
    tree = ast.parse(block.text)
    missing = (used(tree) & IMPORTABLE) - bound(tree) - set(dir(builtins))
    assert sorted(missing) == []
