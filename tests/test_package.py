"""What is declared of the package, and what it is built to."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where a package is imported under another name than it is installed by.
INSTALLED_AS = {"PIL": "pillow", "yaml": "pyyaml", "vl_convert": "vl-convert-python"}
INSTALLED_AS |= {"sklearn": "scikit-learn", "art": "adversarial-robustness-toolbox"}
# For the tests, the docs and the benchmarks alone.
OF_TOOLS = {"bench", "dev", "docs", "test", "test-frameworks"}


LOADERS = ("import_module", "load_library")


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[;~! ]", text)[0].lower() for text in requirements}


def imported() -> set[str]:
    """Packages of import statements, and of `import_module("...")` and `load_library("...")`."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(LOADERS):
                found |= {text.value.split(".")[0] for text in node.args[:1]
                          if isinstance(text, ast.Constant)}  # fmt: skip
    return found - set(sys.stdlib_module_names) - {"narrows"}


def test_every_imported_package_is_declared():
    declared = names(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].keys() - OF_TOOLS:
        declared |= names(PROJECT["optional-dependencies"][extra])
    wanted = {INSTALLED_AS.get(name, name).lower() for name in imported()}
    assert sorted(wanted - declared) == []


def test_every_dependency_is_used():
    wanted = {INSTALLED_AS.get(name, name).lower() for name in imported()}
    unused = names(PROJECT["dependencies"]) - wanted
    assert unused == {"tqdm"}  # pooch shows the progress of downloads with it


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(PROJECT["name"])


@pytest.mark.slow
def test_wheel_and_sdist_are_built_and_the_wheel_works(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    within = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    files = [p for p in (source / "narrows").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert {str(path.relative_to(source)) for path in files} - within == set()
    with tarfile.open(sdist) as archive:
        packed = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= packed
    # The packages that it needs are those of this environment; the wheel itself is installed.
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    (theirs,) = {path for path in map(Path, sys.path) if (path / "torch").is_dir()}
    (home,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (home / "theirs.pth").write_text(f"{theirs}\n")
    said = run(tmp_path / "venv" / "bin" / "narrows", "run", "--help", cwd=tmp_path)
    assert "--methods" in said
    where = run(python, "-c", "import narrows; print(narrows.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(home)


def run(*words: object, cwd: Path = ROOT) -> str:
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd,
                            env={"PATH": "/usr/bin:/bin"})  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout
