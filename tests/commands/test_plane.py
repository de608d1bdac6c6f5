"""`narrows plane`: of a run's models, and of recorded planes."""

import json

import pytest
import torch
from torch import nn

from narrows.information import PlaneRecorder
from narrows.types import Batch
from scenarios import generator
from scenarios_runs import copied, narrows, refused


def test_the_plane_of_a_run_has_every_layer_of_every_model(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    words = ["plane", run.path, "--samples", "100", "--methods", "vib", "--betas", "0.01,1"]
    code, out, _ = narrows(capsys, *words, "--json")
    assert code == 0
    rows = json.loads(out)
    assert {(row["beta"], row["seed"]) for row in rows} == {
        (b, s) for b in (0.01, 1) for s in (0, 1)
    }
    assert {row["model"] for row in rows} == {"vib"}
    assert not (run.path / "plane.html").exists()
    page = tmp_path / "page.html"
    assert json.loads(narrows(capsys, *words, "--json", "--out", page)[1]) == rows
    assert page.exists()
    code, out, _ = narrows(capsys, *words)
    assert (run.path / "plane.html").read_text().count("vega") > 1
    assert out.splitlines()[-1] == f"Page: {run.path / 'plane.html'}"
    assert "| vib | 0.01 | latent |" in out
    code, out, _ = narrows(capsys, *words, "--out", tmp_path / "other.html", "--measure", "binned")
    assert code == 0
    assert (tmp_path / "other.html").exists()


@pytest.fixture
def recorded(tmp_path):
    x = torch.rand(40, 3, generator=generator(0))
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        recorder = PlaneRecorder(model, None, Batch(x, torch.arange(40) % 2))
        for epoch in (0, 1, 10):
            recorder(epoch)
        files.append(tmp_path / f"{seed}.json")
        recorder.save(files[-1])
    return files


def test_recorded_planes_are_drawn_over_their_epochs(recorded, tmp_path, capsys):
    code, out, _ = narrows(capsys, "plane", *recorded)
    assert code == 0
    assert out.count("| recorded |") == 2
    assert (tmp_path / "plane.html").exists()
    _, out, _ = narrows(capsys, "plane", *recorded, "--json")
    assert len(json.loads(out)) == 2 * 3 * 2


def test_a_run_and_recorded_planes_are_not_drawn_together(small_run, recorded, capsys):
    for sources in ([small_run.path, recorded[0]], [recorded[0], small_run.path]):
        err = refused(capsys, "plane", *sources)
        assert "one run's folder, or files" in err


def test_what_cannot_be_drawn_is_one_line(small_run, tmp_path, capsys):
    (tmp_path / "no.json").write_text("{}")
    refused(capsys, "plane", tmp_path / "no.json")
    assert "it has no config.json" in refused(capsys, "plane", tmp_path)
    assert "beta 7.0 is not in this run" in refused(capsys, "plane", small_run.path, "--betas", 7)
    assert "nope" in refused(capsys, "plane", small_run.path, "--layers", "nope")
    refused(capsys, "plane", small_run.path, "--noise", "-1")
    refused(capsys, "plane", small_run.path, "--samples", "0")
