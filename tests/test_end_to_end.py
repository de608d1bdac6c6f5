"""The README's first command, small: from nothing to the page, and again without repeating work."""

import json
import re

import pytest
import torch
from narrows.experiments.store import read_json

from narrows.cli import main
from narrows.storage import load_tensors

SMALL = ["--seeds", "2", "--epochs", "2", "--betas", "0.01,0.1,1", "--eps", "0.05,0.5",
         "--set", "evaluate.attack_images=40", "--set", "evaluate.pgd_steps=3",
         "--set", "evaluate.information_samples=200"]  # fmt: skip


def narrows(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small run of the main job, read by several tests."""
    out = tmp_path_factory.mktemp("out")
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", str(out), "--quiet", *SMALL])
    assert not stop.value.code
    (folder,) = out.iterdir()
    return folder


def test_every_member_of_every_method_is_measured(run):
    for method, betas in (
        ("cross_entropy", [0.0]),
        ("vib", [0.01, 0.1, 1.0]),
        ("aib", [0.01, 0.1, 1.0]),
    ):
        records = read_json(run / method / "results.json")
        assert [(r["beta"], r["seed"]) for r in records] == [(b, s) for b in betas for s in (0, 1)]
        for record in records:
            assert 0 <= record["accuracy"]["test"] <= 1
            attacks = {(one["attack"], one["eps"]) for one in record["attacks"]}
            assert attacks == {("fgsm", 0.05), ("pgd", 0.05), ("fgsm", 0.5), ("pgd", 0.5),
                               ("deepfool", None)}  # fmt: skip
            assert ("variational_rate" in record["information"]["test"]) == (method == "vib")


def test_stored_models_are_those_that_were_measured(run):
    tensors, header = load_tensors(run / "vib" / "models.safetensors")
    assert header["members"][1] == {"beta": 0.01, "seed": 1}
    assert all(len(tensor) == 6 for tensor in tensors.values())
    assert torch.equal(tensors["method.beta"], torch.tensor([0.01, 0.01, 0.1, 0.1, 1.0, 1.0]))


def test_configuration_and_surroundings_are_stored(run):
    config = read_json(run / "config.json")
    assert config["train"]["epochs"] == 2
    assert config["network"]["bottleneck"] == 4
    assert read_json(run / "environment.json")["torch"] == torch.__version__


def test_history_has_one_line_an_epoch(run):
    lines = (run / "aib" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    assert set(json.loads(lines[0])["losses"]) == {"loss", "prediction", "donsker_varadhan"}


def test_the_page_needs_nothing_from_outside(run):
    page = (run / "report.html").read_text()
    loaded = re.findall(r"""(?:src|href)=["']?(?!data:)([^"'\s>]+)""", page)
    assert [address for address in loaded if "//" in address] == []
    assert "vegaEmbed" in page
    for name in ("curves", "eps", "beta", "projection"):
        assert f'id="{name}"' in page
    assert page.count("data:image/png;base64,") == 3 * 3 * 8


def test_a_finished_run_is_not_repeated(run, capsys):
    before = (run / "vib" / "results.json").stat().st_mtime_ns
    code, out, _ = narrows(capsys, "run", "--out", run.parent, *SMALL)
    assert code == 0
    assert "finished before" in out
    assert (run / "vib" / "results.json").stat().st_mtime_ns == before


def test_the_report_can_be_written_again(run, capsys):
    (run / "report.html").unlink()
    code, out, _ = narrows(capsys, "report", run)
    assert code == 0
    assert "Report: " in out
    assert (run / "report.html").exists()


@pytest.mark.parametrize("data", ["twelve-bit", "toy1", "toy2"])
def test_data_that_are_no_images_are_measured_without_attacks(data, tmp_path, capsys):
    code, out, err = narrows(
        capsys, "run", "--data", data, "--epochs", 1, "--seeds", 1, "--out", tmp_path,
        "--methods", "cross_entropy,vib", "--betas", "0.1,0.2,0.3",
        "--set", "evaluate.information_samples=100",
    )  # fmt: skip
    assert (code, err) == (0, "")
    (folder,) = tmp_path.iterdir()
    assert "attacks" not in read_json(folder / "vib" / "results.json")[0]
    assert "FGSM" not in out
