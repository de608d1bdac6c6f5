"""The commands `narrows knee` and `narrows plane`, from a run's folder to the page."""

import json
import re

import pytest
import torch
import vl_convert
from torch import nn

from narrows.cli import main
from narrows.information import PlaneRecorder
from narrows.report.planes import plane_chart, write_plane
from narrows.types import Batch
from scenarios import generator

SMALL = ["--seeds", "2", "--epochs", "2", "--betas", "0.01,0.3,3", "--methods", "vib,cross_entropy",
         "--set", "evaluate.attack=false", "--set", "evaluate.information_samples=150"]  # fmt: skip


def narrows(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", str(out), "--quiet", *SMALL])
    assert not stop.value.code
    (folder,) = out.iterdir()
    return folder


def test_the_knee_of_each_method_or_why_there_is_none(run, capsys):
    code, out, _ = narrows(capsys, "knee", run, "--json")
    assert code == 0
    vib, plain = json.loads(out)
    assert (vib["method"], vib["seeds"]) == ("vib", 2)
    assert (vib["knee"] is None) == (vib["why"] is not None)
    assert vib["one_error"]["beta"] in (0.01, 0.3, 3)
    assert plain["knee"] is None
    assert "1 betas" in plain["why"]
    _, table, _ = narrows(capsys, "knee", run)
    assert "no clear knee" in table
    assert table.count("\n") == 4


def test_the_plane_of_a_run_has_every_layer_of_every_model(run, capsys):
    words = ["plane", run, "--samples", "100", "--methods", "vib", "--betas", "0.01,3"]
    code, out, _ = narrows(capsys, *words, "--json")
    assert code == 0
    rows = json.loads(out)
    assert {(row["beta"], row["seed"]) for row in rows} == {
        (b, s) for b in (0.01, 3) for s in (0, 1)
    }
    latent = {row["beta"]: row["rate"] for row in rows if row["layer"] == "latent"}
    assert latent[0.01] > latent[3]
    code, out, _ = narrows(capsys, *words)
    assert (run / "plane.html").read_text().count("vega") > 1
    assert "| vib | 0.01 | latent |" in out


def test_recorded_planes_are_drawn_over_their_epochs(tmp_path, capsys):
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
    code, out, _ = narrows(capsys, "plane", *files)
    assert code == 0
    assert out.count("| recorded |") == 2
    assert (tmp_path / "plane.html").exists()
    _, out, _ = narrows(capsys, "plane", *files, "--json")
    assert len(json.loads(out)) == 2 * 3 * 2


def plane_row(model, beta, epoch, layer, rate, measures="the code with noise"):
    place = {"model": model, "beta": beta, "seed": 0, "epoch": epoch, "layer": layer}
    bits = {"rate": rate, "relevance": rate / 2, "entropy": 1.0, "ceiling": 6.5}
    return place | bits | {"saturated": False, "measures": measures}


def test_a_plane_names_its_limits_and_the_beta_of_each_line():
    rows = [
        plane_row("vib", beta, None, layer, rate)
        for beta, rates in ((0.1111111, (2.0, 1.5)), (0.37, (1.0, 0.5)))
        for layer, rate in zip(("encoder.1", "latent"), rates, strict=True)
    ]
    svg = vl_convert.vegalite_to_svg(plane_chart(rows).to_dict())
    shown = re.findall(r">([^<>]+)</text>", svg)
    assert [shown.count(name) for name in ("H(Y)", "log n", "vib")] == [1, 1, 1]
    assert [shown.count(beta) for beta in ("0.11", "0.37")] == [1, 1]


def test_the_page_says_how_each_layer_was_measured_and_which_way_time_runs(tmp_path):
    rows = [
        plane_row("recorded", None, epoch, layer, rate, measures)
        for layer, rate, measures in (("1", 2.0, "the code with noise"), ("latent", 1.0, "codes"))
        for epoch in (0, 30)
    ]
    page = write_plane(rows, tmp_path / "plane.html").read_text()
    assert "Measured: the code with noise; of latent of recorded: codes." in page
    assert "H(Y) = 1.00 bits" in page
    assert "from epoch 0 (small points) to 30 (large)" in page


def test_what_cannot_be_drawn_is_one_line(tmp_path, capsys):
    (tmp_path / "no.json").write_text("{}")
    for words in (["plane", tmp_path / "no.json"], ["plane", tmp_path], ["knee", tmp_path]):
        code, _, err = narrows(capsys, *words)
        assert code == 2
        assert err.count("\n") == 1
