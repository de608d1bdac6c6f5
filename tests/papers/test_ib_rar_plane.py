"""A layer followed through the training of each method: stored, kept, and read back."""

from dataclasses import replace

import pytest

from narrows.errors import StoreError
from narrows.models.hidden import hidden_layers
from narrows.papers import ib_rar_plane
from narrows.papers.ib_rar_figures import DependencePoint
from narrows.papers.ib_rar_plane import (
    DependenceConfig,
    DependenceRecord,
    read_dependences,
    run_dependences,
)
from narrows.runs import Progress
from narrows.runs.building import build_model
from narrows.runs.files import write_json
from scenarios_runs import tiny_config

RUN = tiny_config(
    methods=["cross_entropy", "ib_rar"],
    train_images=40,
    train={"epochs": 2, "batch_size": 20},
    network={"encoder": [8], "bottleneck": 0, "decoder": []},
)


@pytest.fixture(scope="module")
def config() -> DependenceConfig:
    """Of the first hidden layer."""
    (layer, *_) = hidden_layers(build_model(RUN, "ib_rar", (1, 8, 8), 10))
    return DependenceConfig(RUN, layer, every=2, images=40, batch_size=20)


def test_each_method_has_its_points_and_is_kept(config, tmp_path, monkeypatch):
    record = run_dependences(config, tmp_path, Progress())
    assert list(record.points) == ["cross_entropy", "ib_rar"]
    for points in record.points.values():
        assert [point.step for point in points] == [0, 2, 4]
    plain, ours = record.points.values()
    assert plain[0] == ours[0]  # both begin at the same weights
    assert plain[-1] != ours[-1]
    assert read_dependences(tmp_path / "ib-rar-plane") == record
    monkeypatch.setattr(ib_rar_plane, "_followed", None)
    assert run_dependences(config, tmp_path, Progress()) == record


def test_a_method_that_is_missing_is_trained_and_the_other_kept(config, tmp_path, monkeypatch):
    whole = run_dependences(config, tmp_path / "whole", Progress())
    followed = ib_rar_plane._followed

    def broken(settings, method):
        if method == "ib_rar":
            raise KeyboardInterrupt
        return followed(settings, method)

    monkeypatch.setattr(ib_rar_plane, "_followed", broken)
    with pytest.raises(KeyboardInterrupt):
        run_dependences(config, tmp_path, Progress())
    monkeypatch.setattr(
        ib_rar_plane, "_followed", lambda _, method: {"ib_rar": whole.points["ib_rar"]}[method]
    )
    assert run_dependences(config, tmp_path, Progress()) == whole


def test_other_settings_begin_anew(config, tmp_path):
    run_dependences(config, tmp_path, Progress())
    seldom = run_dependences(replace(config, every=4), tmp_path, Progress())
    assert [point.step for point in seldom.points["ib_rar"]] == [0, 4]


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"has no dependence\.json; expected the folder planes/"):
        read_dependences(tmp_path)


def test_a_damaged_file_is_refused(config, tmp_path):
    record = DependenceRecord(config, {"cross_entropy": [DependencePoint(0, "0", 1.0, 2.0)]})
    write_json(tmp_path / "dependence.json", ib_rar_plane._KIND, record)
    assert read_dependences(tmp_path) == record
    path = tmp_path / "dependence.json"
    path.write_text(path.read_text().replace("2.0", "3.0"))
    with pytest.raises(StoreError, match=r"dependence\.json"):
        read_dependences(tmp_path)
