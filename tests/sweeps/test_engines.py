"""Engines carry out the same runs, whatever dies meanwhile."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from narrows.errors import ConfigError, EngineError
from narrows.experiments.member_attacks import plan_attacks, read_attacks
from narrows.runs import Run
from narrows.runs.files import locked_folder
from narrows.sweeps import UnitResult, carry_out_sweep, cluster, read_grid, units
from scenarios_runs import Notes

GRID = """
methods = ["cross_entropy", "vib"]
betas = [0.1]
seeds = {seeds}
members_per_run = {together}
[network]
encoder = [8]
bottleneck = 2
decoder = []
[train]
epochs = {epochs}
checkpoint_seconds = 0.0
[evaluate]
information_samples = 50
[attacks.fgsm]
eps = 0.1
images = 20
"""
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def grid(tmp_path: Path, seeds: int = 2, together: int = 2, epochs: int = 1):
    path = tmp_path / "grid.toml"
    path.write_text(GRID.format(seeds=seeds, together=together, epochs=epochs))
    return path


def records(out: Path) -> dict:
    """Everything that was measured and attacked, by the name of the run's folder."""
    plans = [plan for plan, _ in plan_attacks({"fgsm": {"eps": 0.1, "images": 20}})]
    runs = [Run.open(path) for path in sorted(out.iterdir())]
    return {run.path.name: (run.records(), read_attacks(run, plans)) for run in runs}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    results = list(carry_out_sweep(read_grid(grid(folder)), folder / "runs"))
    assert [result.error for result in results] == [None, None]
    return records(folder / "runs")


def test_a_sweep_is_ordinary_runs_and_their_attacks(local):
    assert len(local) == 2
    for measured, attacked in local.values():
        assert len(measured) == len(attacked) == 2
        assert all(0 <= row.record.accuracy <= 1 for row in attacked)


def test_a_new_attack_on_finished_models_trains_nothing(tmp_path, monkeypatch):
    path = grid(tmp_path)
    list(carry_out_sweep(read_grid(path), tmp_path / "runs"))
    before = records(tmp_path / "runs")
    path.write_text(path.read_text() + "[attacks.deepfool]\nsteps = 2\nimages = 5\n")
    monkeypatch.setattr("narrows.runs.engine.fit", None)
    monkeypatch.setattr("narrows.runs.engine.evaluate_models", None)
    results = list(carry_out_sweep(read_grid(path), tmp_path / "runs"))
    assert [(result.members, result.attacks, result.error) for result in results] == [
        (2, 2, None)
    ] * 2
    assert records(tmp_path / "runs") == before


def test_one_run_that_fails_does_not_stop_the_others(tmp_path):
    path = grid(tmp_path)
    text = path.read_text() + "[grid]\ndata = ['digits', 'toy1']\n"
    path.write_text(text.replace('["cross_entropy", "vib"]', '["cross_entropy"]'))
    good, bad = carry_out_sweep(read_grid(path), tmp_path / "runs")
    assert (good.error, good.members) == (None, 2)
    assert bad.error == "toy1 has no images in [0, 1] that could be attacked"


def test_engines_and_their_options(tmp_path, monkeypatch):
    sweep = read_grid(grid(tmp_path))
    with pytest.raises(ConfigError, match="local"):
        list(carry_out_sweep(sweep, tmp_path, "locl"))
    with pytest.raises(ConfigError, match="--engine dask"):
        list(carry_out_sweep(sweep, tmp_path, workers=2))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'narrows\[dask\]'"):
        list(carry_out_sweep(sweep, tmp_path, "dask"))


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra narrows[dask] is not installed")
    monkeypatch.setattr(cluster, "_SECONDS", 0.3)
    sweep = read_grid(grid(tmp_path))
    with pytest.raises(ConfigError, match=r"answers at tcp://127\.0\.0\.1:1 .*leave"):
        list(carry_out_sweep(sweep, tmp_path, "dask", address="tcp://127.0.0.1:1"))
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        list(carry_out_sweep(sweep, tmp_path, "dask", address="nonsense"))
    with pytest.raises(ConfigError, match="has its own workers"):
        list(carry_out_sweep(sweep, tmp_path, "dask", address="tcp://127.0.0.1:1", workers=2))


@pytest.fixture
def one_worker():
    """The fast twin of a cluster of processes: a scheduler and a worker inside this one."""
    distributed = pytest.importorskip("distributed", reason="narrows[dask] is not installed")
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        yield cluster


def test_a_cluster_gives_the_same_results(local, tmp_path, one_worker):
    sweep, address = read_grid(grid(tmp_path)), one_worker.scheduler_address
    results = list(carry_out_sweep(sweep, tmp_path / "runs", "dask", address=address))
    assert [result.error for result in results] == [None, None]
    assert records(tmp_path / "runs") == local


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"tcp://w": {"narrows": "4"}}, "worker tcp://w has narrows 4, the driver 5"),
        ({"tcp://w": AttributeError("no _versions")}, r"\(no _versions\); install narrows 5 there"),
    ],
    ids=["another version", "an older one"],
)
def test_workers_of_another_version(answers, reason, tmp_path, one_worker, monkeypatch):
    monkeypatch.setattr(cluster, "_versions", lambda out: {"narrows": "5"})
    monkeypatch.setattr("distributed.Client.run", lambda *args, **options: answers)
    sweep, address = read_grid(grid(tmp_path)), one_worker.scheduler_address
    with pytest.raises(ConfigError, match=reason):
        list(carry_out_sweep(sweep, tmp_path / "runs", "dask", address=address))


def test_workers_that_join_later_or_die_while_they_are_asked(tmp_path, one_worker, monkeypatch):
    answers = iter(["5", "5", "4"])  # the driver's twice, and that of the worker with a unit
    monkeypatch.setattr(cluster, "_versions", lambda out: {"narrows": next(answers)})
    dead = {"tcp://w": OSError("closed")}
    monkeypatch.setattr("distributed.Client.run", lambda *args, **options: dead)
    monkeypatch.setattr(cluster, "carry_out_unit", None)
    sweep, address = read_grid(grid(tmp_path)), one_worker.scheduler_address
    with pytest.raises(EngineError, match="this worker has narrows 4, the driver 5"):
        list(carry_out_sweep(sweep, tmp_path / "runs", "dask", address=address))


def test_a_scheduler_that_stops(tmp_path, one_worker, monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS", 2)
    monkeypatch.setattr(cluster, "carry_out_unit", lambda unit, out: UnitResult(unit.label, None))
    sweep, address = read_grid(grid(tmp_path, seeds=40)), one_worker.scheduler_address
    results = carry_out_sweep(sweep, tmp_path / "runs", "dask", address=address)
    next(results)
    one_worker.close()
    with pytest.raises(EngineError, match=r"the Dask scheduler at .* has stopped; start it"):
        list(results)


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_run_that_another_process_carries_out_comes_last(engine, tmp_path, monkeypatch, request):
    """It is waited for, and is no failure: the process may be a worker left by a killed driver."""
    monkeypatch.setattr(units, "_PAUSE", 0.01)
    address = request.getfixturevalue("one_worker").scheduler_address if engine == "dask" else None
    sweep = read_grid(grid(tmp_path))
    first = next(carry_out_sweep(sweep, tmp_path / "runs"))
    notes = Notes()
    with locked_folder(Path(str(first.path))):
        results = carry_out_sweep(sweep, tmp_path / "runs", engine, address=address, progress=notes)
        other = next(results)
    assert (other.error, other.path != first.path) == (None, True)
    assert list(results) == [first]
    assert sum("in use by another process" in note for note in notes.notes) == 1


def children(pid: int) -> list[int]:
    text = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in text.stdout.splitlines()[1:]]
    own = [int(child) for child, parent in pairs if int(parent) == pid]
    return [*own, *(grandchild for child in own for grandchild in children(child))]


def start(path: Path, out: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "narrows.cli", "sweep", str(path), "--out", str(out), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(found, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes by a signal")
def test_workers_and_drivers_are_killed_in_the_middle(tmp_path):
    pytest.importorskip("distributed", reason="the extra narrows[dask] is not installed")
    path, out = grid(tmp_path, seeds=4, together=1, epochs=60), tmp_path / "runs"
    words = ("--engine", "dask", "--workers", "2", "--quiet")

    def begun() -> bool:
        return bool(list(out.glob("*/*/checkpoint.safetensors")))

    def workers() -> list[int]:
        names = {pid: Path(f"/proc/{pid}/cmdline") for pid in children(driver.pid)}
        return [pid for pid, file in names.items() if b"spawn_main" in file.read_bytes()]

    driver = start(path, out, *words)
    wait_for(begun)
    os.kill(workers()[0], signal.SIGKILL)
    wait_for(lambda: len(list(out.glob("*/done.json"))) >= 2)
    family = children(driver.pid)
    driver.kill()
    driver.communicate()
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    kept = {file: file.stat().st_mtime_ns for file in out.glob("*/*/models.safetensors")}
    driver = start(path, out, *words)
    printed, errors = driver.communicate(timeout=150)
    assert (driver.returncode, errors) == (0, "")
    assert printed.splitlines()[-1].startswith("8 of 8 runs complete, 8 models")
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    list(carry_out_sweep(read_grid(path), tmp_path / "undisturbed"))
    assert records(out) == records(tmp_path / "undisturbed")
