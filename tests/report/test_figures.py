"""`narrows figure`: from a run's folder to the page, and the numbers behind it."""

import html
import json
import math

import pytest
import torch
from narrows.experiments.figures import embeddings, exact_curve, shot_errors
from narrows.experiments.members import load_member
from narrows.experiments.progress import Progress

from narrows.cli import main
from narrows.data import load
from narrows.data.twelve_bit import joint
from narrows.information import achievable_region
from narrows.models.bottleneck import as_classifier
from narrows.report.figures import FIGURES
from narrows.report.figures.aib import beta_sections, curve_sections
from narrows.report.figures.imb import layer_rows

SMALL = ["--epochs", "2", "--betas", "0.01,0.3,3", "--set",
         "evaluate.information_samples=150", "--set", "evaluate.attack_images=20", "--set",
         "evaluate.pgd_steps=2", "--eps", "0.1"]  # fmt: skip


def narrows(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


def train(out, *words):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", str(out), "--quiet", *SMALL, *words])
    assert not stop.value.code
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    words = ["--seeds", "2", "--methods", "vib,cross_entropy", "--set", "network.bottleneck=2"]
    return train(tmp_path_factory.mktemp("digits"), *words, "--set", "network.latent=full")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return train(tmp_path_factory.mktemp("swept"), "--seeds", "2", "--methods", "vib,cross_entropy")


@pytest.fixture(scope="module")
def twelve_bit(tmp_path_factory):
    words = ["--seeds", "1", "--data", "twelve-bit", "--methods", "vib,cross_entropy"]
    return train(tmp_path_factory.mktemp("twelve"), *words)


@pytest.mark.parametrize(
    ("name", "of", "charts"),
    [
        ("vib-1", "digits", 4),
        ("vib-2", "digits", 1),
        ("aib-4", "twelve_bit", 1),
        ("aib-4", "swept", 1),
        ("aib-5", "swept", 1),
        ("aib-6", "swept", 2),
    ],
)
def test_a_figure_is_a_page_with_its_charts(name, of, charts, request, capsys):
    folder = request.getfixturevalue(of)
    code, out, err = narrows(capsys, "figure", name, folder, "--quiet")
    assert (code, err) == (0, "")
    page = (folder / "figures" / f"{name}.html").read_text()
    assert out.splitlines()[-1] == f"Report: {folder / 'figures' / f'{name}.html'}"
    assert page.count('class="chart"') == charts
    assert html.escape(FIGURES[name].source) in page


def test_pictures_are_written_beside_the_page(swept, capsys):
    code, out, _ = narrows(capsys, "figure", "aib-5", swept, "--png", "--quiet")
    assert code == 0
    picture = swept / "figures" / "aib-5-1.png"
    assert str(picture) in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_lists_the_figures_that_there_are(capsys):
    _, out, _ = narrows(capsys, "figure", "--help")
    assert all(f"{name}:" in out for name in FIGURES)
    code, _, err = narrows(capsys, "figure", "vib-9", "somewhere")
    assert code == 2
    assert all(name in err for name in FIGURES)


def test_a_figure_of_another_kind_of_run_is_refused(swept, twelve_bit, tmp_path, capsys):
    for name, folder, message in [
        ("vib-2", swept, "codes of 2 units, and no model"),
        ("imb-1", swept, "there is no"),
        ("aib-4", tmp_path / "nowhere", "there is no folder"),
    ]:
        code, _, err = narrows(capsys, "figure", name, folder, "--quiet")
        assert code == 2
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_no_model_is_above_the_exact_bound(twelve_bit):
    rows = exact_curve(twelve_bit, Progress())
    assert len(rows) == 4  # three betas of vib, and the plain network
    region = achievable_region(joint())
    for row in rows:
        allowed = region.bound([row["rate"] * math.log(2)]).item() / math.log(2)
        assert row["relevance"] <= allowed + 4 * row["error"]
    table = curve_sections(twelve_bit, Progress())[1].table
    assert table is not None
    assert table.rows[0][:2] == ["vib", "0.01"]
    assert len(table.rows) == 4


def test_measurements_are_kept(twelve_bit):
    rows = exact_curve(twelve_bit, Progress())
    kept = twelve_bit / "figures" / "exact_curve.json"
    kept.write_text(json.dumps(rows[:1]))
    assert exact_curve(twelve_bit, Progress()) == rows[:1]
    kept.unlink()
    assert exact_curve(twelve_bit, Progress()) == rows


def test_errors_are_those_of_one_draw_and_of_twelve(swept):
    rows = shot_errors(swept, Progress())
    assert len(rows) == 2 * 2 * 8
    model, data = load_member(swept, "cross_entropy", 0.0, 1), load("digits")
    wrong = as_classifier(model)(data.test.all().x).argmax(1) != data.test.y
    plain = [r for r in rows if r["method"] == "cross_entropy" and r["seed"] == 1]
    found = {(r["split"], r["shots"]): r["error"] for r in plain}
    assert found["test", 1] == found["test", 12] == pytest.approx(wrong.double().mean().item())


def test_embeddings_are_the_posteriors(digits):
    row = embeddings(digits, Progress())[0]
    model = load_member(digits, row["method"], row["beta"], row["seed"])
    x = load("digits").test.batch(slice(0, 5)).x
    latent = model.encode(x)
    torch.testing.assert_close(torch.tensor(row["mean"][:5]), latent.mean, atol=1e-4, rtol=0)
    factor = torch.tensor(row["factor"][:5]).reshape(-1, 2, 2)
    torch.testing.assert_close(factor, latent.scale, atol=1e-4, rtol=0)
    assert 0 <= min(row["entropy"]) <= max(row["entropy"]) <= math.log2(10) + 1e-3


def test_audits_in_the_folder_of_the_run_are_drawn(swept):
    about = {"name": f"vib, beta = 0.3, seed 1, of {swept.name}", "eps": 0.1, "norm": "linf"}
    for place, changed in (("a", {}), ("b", {"norm": "l2"}), ("c", {"name": "another"})):
        path = swept / "audits" / place / "record.json"
        path.parent.mkdir(parents=True)
        record = {"asked": about | changed, "verdict": {"reached": 0.125}}
        path.write_text(json.dumps(record))
    chart = beta_sections(swept, Progress())[1].chart.to_dict()
    audited = [row for row in chart["data"]["values"] if row.get("attack") == "audit"]
    assert [(row["beta"], row["seed"], row["value"]) for row in audited] == [(0.3, 1, 0.125)]


def test_the_layers_of_a_plane_are_means_over_seeds():
    point = {"epoch": 3, "rate": [[2.0, 1.0], [4.0, 1.0]], "relevance": [[0.5, 0.2], [0.7, 0.2]]}
    first, second = layer_rows({"sfnn": [point]}, ["sfnn"])
    assert (first["rate"], first["relevance"], first["layer"]) == (3.0, pytest.approx(0.6), 1)
    assert first["high"] - first["low"] == pytest.approx(2 * math.sqrt(0.02))
    assert second["low"] == second["high"] == pytest.approx(0.2)


def test_the_dynamics_are_drawn_from_a_plane(tmp_path, capsys):
    point = {"rate": [[2.0, 1.0]], "relevance": [[0.5, 0.2]]}
    points = [{"epoch": epoch, **point} for epoch in (0, 1, 10)]
    reached = {"layer_1": 0.1, "each": [0.1, 0.1], "highest": [0.5, 0.2]}
    config = {"methods": ["sfnn", "joint_imb"], "seeds": 1}
    plane = {"config": config, "sfnn": points, "joint_imb": points}
    plane["reached"] = {"sfnn": reached, "joint_imb": reached | {"layer_1": None}}
    (tmp_path / "plane.json").write_text(json.dumps(plane))
    code, _, _ = narrows(capsys, "figure", "imb-1", tmp_path, "--quiet")
    assert code == 0
    page = (tmp_path / "figures" / "imb-1.html").read_text()
    assert "10.00% of SFNN" in page
    assert "<td>never</td>" in page
