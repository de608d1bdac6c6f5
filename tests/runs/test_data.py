from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.data import DATASETS, Dataset, Splits
from narrows.errors import ConfigError, DataError
from narrows.runs import Run, load_config
from narrows.runs.data import load_splits, splits_digest
from scenarios_runs import copied, lone_folder, narrows, tiny_config, tiny_run


def splits(**changes) -> Splits:
    part = Dataset("digits", torch.arange(48.0).reshape(6, 1, 2, 4) / 48, torch.arange(6) % 3, 3)
    return Splits(part, part, replace(part, **changes))


def test_the_hash_is_of_content_and_not_of_how_it_lies_in_memory():
    base = splits()
    assert splits_digest(base) == splits_digest(splits())
    columns = base.test.x.transpose(2, 3).contiguous().transpose(2, 3)
    assert not columns.is_contiguous()
    assert splits_digest(splits(x=columns)) == splits_digest(base)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": torch.arange(48.0).reshape(6, 1, 2, 4) / 49},
        {"x": torch.arange(48.0).reshape(6, 1, 4, 2) / 48},
        {"x": torch.arange(48.0, dtype=torch.float64).reshape(6, 1, 2, 4) / 48},
        {"y": (torch.arange(6) + 1) % 3},
        {"classes": 4},
        {"image": False},
    ],
)
def test_any_other_content_has_another_hash(changes):
    assert splits_digest(splits(**changes)) != splits_digest(splits())


def test_parts_cannot_take_each_others_place():
    other = splits(y=torch.zeros(6, dtype=torch.int64))
    swapped = Splits(other.test, other.validation, other.train)
    assert splits_digest(swapped) != splits_digest(other)


def test_the_share_of_validation_data_is_the_configurations():
    parts, digest = load_splits(tiny_config(validation_share=0.5))
    assert abs(len(parts.validation) - len(parts.train)) <= 1
    again, same = load_splits(tiny_config(validation_share=0.5, data_sha256=digest))
    assert (digest, len(again.train)) == (same, len(parts.train))
    with pytest.raises(ConfigError, match=r"hash [0-9a-f]{12}, expected abababababab; restore"):
        load_splits(tiny_config(data_sha256="ab" * 32))


def altered(monkeypatch) -> None:
    """The digits with one pixel changed."""
    original = DATASETS["digits"]

    def changed(root=None) -> Splits:
        parts = original(root)
        x = parts.train.x.clone()
        x[0, 0, 0, 0] = 0.5
        return parts._replace(train=replace(parts.train, x=x))

    monkeypatch.setitem(DATASETS, "digits", changed)


def test_other_data_under_the_same_name_are_another_run(small_run, tmp_path, monkeypatch, capsys):
    quick = {"methods": ["cross_entropy"], "seeds": 1, "train": {"epochs": 1}}
    first = tiny_run(tmp_path / "out", **quick)
    with monkeypatch.context() as patch:
        altered(patch)
        second = tiny_run(tmp_path / "out", **quick)
        assert second.path != first.path
        assert second.config.data_sha256 != first.config.data_sha256
        assert len(list((tmp_path / "out").iterdir())) == 2
        # Nothing is measured on data that a run was not trained on.
        run = Run.open(copied(small_run, tmp_path).path)
        with pytest.raises(ConfigError, match="digits has changed since"):
            _ = run.splits
        code, _, err = narrows(capsys, "plane", run.path, "--samples", 20)
        assert code == 2
        assert "digits has changed since this configuration was made" in err
        words = ["run", first.path / "config.json", "--out", tmp_path / "other"]
        assert "digits has changed since" in narrows(capsys, *words)[2]
        assert not (tmp_path / "other").exists()
    assert tiny_run(tmp_path / "out", **quick).path == first.path


def test_the_folder_is_named_by_the_data_too(small_run):
    config = load_config(small_run.path / "config.json")
    assert small_run.path.name == f"digits-{config.identity()}"
    assert config.identity() != replace(config, data_sha256="").identity()
    assert lone_folder(small_run.path.parent) == small_run.path


def test_other_names_of_the_classes_are_another_content():
    assert splits_digest(splits(class_names=("a", "b", "c"))) != splits_digest(splits())


OWN = {"methods": ["vib"], "betas": [0.1], "seeds": 1}


@pytest.fixture
def own(tmp_path) -> Path:
    """Images of the user's own, in a file."""
    write(tmp_path / "mine.npz")
    return tmp_path / "mine.npz"


def write(path: Path, count: int = 40, first: float = 0.0) -> None:
    x = np.random.default_rng(0).random((count, 4, 4)).astype(np.float32)
    x[0] = first
    np.savez(path, images=x, labels=np.array(["cat", "dog"])[np.arange(count) % 2])


def test_a_run_on_data_of_the_users_own(own, tmp_path):
    run = tiny_run(tmp_path / "out", data=str(own), **OWN)
    assert run.path.name.startswith("mine-")
    assert str(own) not in (tmp_path / "out").joinpath(run.path.name, "data.json").read_text()
    again = tiny_run(tmp_path / "out", data=str(own), **OWN)
    assert again.path == run.path
    assert again.splits.test.class_names == ("cat", "dog")
    write(own, first=1.0)
    assert tiny_run(tmp_path / "out", data=str(own), **OWN).path != run.path


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"first": 1.0}, "(train has other values)"),
        ({"count": 50}, "train had 26 samples and has 32; validation had 6 samples and has 8;"),
    ],
)
def test_a_finished_run_says_what_changed(change, difference, own, tmp_path):
    run = tiny_run(tmp_path / "out", data=str(own), **OWN)
    write(own, **change)
    with pytest.raises(ConfigError) as caught:
        Run.open(run.path).splits  # noqa: B018
    assert difference in str(caught.value)
    assert str(caught.value).startswith("mine has changed")


def test_a_run_finds_data_that_moved(own, tmp_path, monkeypatch):
    run = tiny_run(tmp_path / "out", data=str(own), **OWN)
    moved = tmp_path / "elsewhere" / "mine.npz"
    moved.parent.mkdir()
    own.rename(moved)
    with pytest.raises(DataError, match=rf"the data of {run.path} cannot be loaded: there is no"):
        Run.open(run.path).splits  # noqa: B018
    monkeypatch.setenv("NARROWS_DATA", str(moved.parent))
    assert len(Run.open(run.path).splits.test) == 8
    monkeypatch.delenv("NARROWS_DATA")
    # The same command with the new place finds the folder, and the folder the new place.
    assert tiny_run(tmp_path / "out", data=str(moved), **OWN).path == run.path
    assert len(Run.open(run.path).splits.test) == 8


def test_networks_and_epochs_suit_the_data(own):
    dense = load_config(values={"data": str(own)})
    assert {network.name for network in dense.networks.values()} == {"mlp"}
    assert (dense.train.epochs, dense.networks["vib"].normalise) == (100, True)
    x = np.zeros((30, 16, 16), np.uint8)
    np.savez(own.parent / "photos.npz", x=x, y=np.arange(30) % 3)
    assert load_config(values={"data": f"{own.parent}/photos.npz"}).networks["vib"].name == "cnn"
    np.savez(own.parent / "table.npz", x=5 * np.ones((30, 2)), y=np.arange(30) % 3)
    table = load_config(values={"data": f"{own.parent}/table.npz"}).networks["vib"]
    assert (table.name, table.normalise) == ("mlp", False)
