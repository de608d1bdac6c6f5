"""The rules of the house: what may import what, and what must exist beside what."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import narrows
from narrows.attacks import ATTACKS
from narrows.audit import CHECKS
from narrows.information import ESTIMATORS

ROOT = Path(narrows.__file__).parent
TESTS = Path(__file__).parent

# A module may import from its own layer and from those before it.
LAYERS = [
    "registry",
    "errors",
    "libraries",
    "streams",
    "types",
    "checks",
    "user_code",
    "storage",
    "data",
    "models",
    "information",
    "attacks",
    "audit",
    "methods",
    "training",
    "runs",
    "sklearn",
    "experiments",
    "sweeps",
    "stored",
    "papers",
    "recipes",
    "report",
    "reproduction",
    "commands",
    "cli",
]


def house():
    """The script that measures the house."""
    path = TESTS.parent / "scripts" / "house.py"
    spec = importlib.util.spec_from_file_location("house", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("measure", ["private_imports", "cycles", "undocumented_classes"])
def test_the_house_has_none_of_these(measure):
    assert getattr(house(), measure)().places == []


def test_names_say_what_they_hold():
    measure = house().vague_names()
    assert len(measure.places) < 0.005 * measure.total, measure.places


def layer(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


def modules() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def imported(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.startswith("narrows.")]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upward_only(path):
    own = layer(".".join(("narrows", *path.relative_to(ROOT).with_suffix("").parts)))
    assert [name for name in imported(path) if layer(name) > own] == []


def in_fresh_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'torch', 'altair', 'matplotlib', 'distributed', 'ray', 'omegaconf', 'rich'}"
    code = f"import sys, narrows, narrows.cli; print(sorted({heavy} & set(sys.modules)))"
    assert in_fresh_python(code).strip() == "[]"


def test_using_the_api_loads_no_plotting_and_no_cluster_library():
    heavy = "{'altair', 'vl_convert', 'matplotlib', 'distributed', 'ray', 'jinja2'}"
    code = f"import sys; from narrows import VIB, PGD; print(sorted({heavy} & set(sys.modules)))"
    assert in_fresh_python(code).strip() == "[]"


def test_every_name_of_the_package_can_be_had():
    for name in narrows.__all__:
        assert hasattr(narrows, name)
    with pytest.raises(AttributeError, match="nothing"):
        narrows.nothing  # noqa: B018


@pytest.mark.parametrize("folder", ["attacks", "information"])
def test_each_module_has_its_test_file(folder):
    public = [path.stem for path in (ROOT / folder).glob("[a-z]*.py")]
    missing = [name for name in public if not (TESTS / folder / f"test_{name}.py").exists()]
    assert missing == [], f"write tests/{folder}/test_<name>.py for these"


@pytest.mark.parametrize(
    ("registry", "page"),
    [
        (ATTACKS, "attacks.md"),
        (ESTIMATORS, "information.md"),
        (CHECKS, "audit.md"),
    ],
    ids=["attacks", "estimators", "checks"],
)
def test_each_entry_of_a_registry_has_a_line_of_docs(registry, page):
    text = (TESTS.parent / "docs" / page).read_text()
    assert [name for name in registry if f"`{name}`" not in text] == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node) or ""
            body = (node.end_lineno or 0) - node.lineno - doc.count("\n")
            assert body <= 60, f"{path.name}:{node.lineno} {node.name} has {body} lines"


def test_the_example_of_the_readme_runs_and_learns(capsys):
    readme = (TESTS.parent / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    torch.manual_seed(0)
    found = {}
    exec(example, found)
    assert 0 <= float(capsys.readouterr().out) < 0.9
    assert found["loss"] < 0.5
