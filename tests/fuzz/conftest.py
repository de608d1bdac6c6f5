"""The harnesses of `benchmarks/faults`, and the material that their short versions share."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

FOLDER = Path(__file__).parents[2] / "benchmarks" / "faults"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="processes and files are watched by means that Linux has")
    for item in items:
        if sys.platform != "linux" and Path(__file__).parent in item.path.parents:
            item.add_marker(skip)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules that the harnesses are made of."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import judge
    import seals
    import values
    import workers

    return SimpleNamespace(judge=judge, seals=seals, values=values, workers=workers)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny runs, made once for all processes of the test run."""
    shared = tmp_path_factory.getbasetemp().parent / "narrows-ground"
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); from pathlib import Path; "
        f"import ground; ground.build(Path({str(shared)!r}), ground.FAST)"
    )
    with FileLock(shared.with_suffix(".lock")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return shared


@pytest.fixture
def run_harness(ground: Path) -> Callable[..., None]:
    """Run a script of `benchmarks/faults` on the shared material; it has to find nothing."""
    return lambda script, *words: _run(script, *words, "--ground", ground)


@pytest.fixture
def run_alone() -> Callable[..., None]:
    """The same without material."""
    return _run


def _run(script: str, *words: object) -> None:
    command = [sys.executable, FOLDER / script, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    shown = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("|"))
    assert done.returncode == 0, f"{shown}\n{done.stderr[-3000:]}"
