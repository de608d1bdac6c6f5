"""How often a command reads, resolves and tries: once, whatever it does with the result."""

from collections import Counter
from pathlib import Path

import pytest

from narrows import storage
from narrows.runs import engine
from narrows.runs.config import RunConfig
from product.walk import TINY, narrows

SMALL = ["--set", "network.encoder=[8]", "--set", "network.decoder=[6]"]
METHODS = ["cross_entropy", "vib", "aib", "sfnn"]


@pytest.fixture
def counted(monkeypatch):
    """Counts of what is read and called, by name."""
    counts: Counter[str] = Counter()

    def count(owner, name, key):
        original = getattr(owner, name)

        def counting(*given, **named):
            counts[key(*given, **named)] += 1
            return original(*given, **named)

        monkeypatch.setattr(owner, name, counting)

    count(Path, "read_bytes", lambda path, *_, **__: path.name)
    count(Path, "read_text", lambda path, *_, **__: path.name)
    count(storage, "safe_open", lambda path, *_, **__: Path(path).name)
    count(RunConfig, "resolve", lambda config: "resolve")
    count(engine, "try_method", lambda config, method, *_, **__: f"try {method}")
    return counts


def done(*words: object) -> None:
    said = narrows(*words)
    assert said.code == 0, said.err


@pytest.fixture(scope="module")
def six(tmp_path_factory) -> Path:
    """A run of six models of one method."""
    out = tmp_path_factory.mktemp("six")
    done(
        "run",
        "--out",
        out,
        *TINY,
        *SMALL,
        "--methods",
        "vib",
        "--betas",
        "0.1,0.2,0.3",
        "--set",
        "evaluate.attack=false",
    )
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    return folder


def test_a_run_is_resolved_once_and_each_method_tried_once(counted, tmp_path):
    words = ["--methods", ",".join(METHODS), "--set", "evaluate.attack=false"]
    done("run", "--out", tmp_path, *TINY, *SMALL, *words)
    assert counted["resolve"] == 1
    assert {key: counted[key] for key in counted if key.startswith("try ")} == {
        f"try {method}": 1 for method in METHODS
    }


@pytest.mark.parametrize(
    "words",
    [
        ["attack", "--beta", "0.1", "--attack", "fgsm", "--eps", "0.1", "--images", "4"],
        ["audit", "--beta", "0.1", "--eps", "0.1", "--budget", "fast", "--images", "2"],
        ["plane", "--samples", "40"],
        ["reevaluate", "--betas", "0.1", "--images", "2"],
        ["knee"],
    ],
    ids=lambda words: words[0],
)
def test_a_folder_is_read_once(words, six, counted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *rest = words
    done(name, six, *rest)
    assert counted["config.json"] == 1
    assert counted["models.safetensors"] == 1
    assert counted["resolve"] == 0
