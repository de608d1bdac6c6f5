from dataclasses import replace

import pytest
import torch

from narrows.data import DATASETS, Dataset, Splits
from narrows.errors import ConfigError
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
