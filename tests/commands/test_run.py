"""`narrows run`: the README's first command, small, and again without repeating work."""

import json
import re

import pytest
import torch

from narrows.runs import Member, Run
from narrows.runs.environment import Environment
from narrows.runs.files import write_json
from narrows.storage import load_tensors
from scenarios_runs import copied, lone_folder, narrows, refused, snapshot

SMALL = ["--seeds", "2", "--epochs", "2", "--betas", "0.01,0.1,1", "--eps", "0.05,0.5",
         "--set", "evaluate.attack_images=40", "--set", "evaluate.pgd_steps=3",
         "--set", "evaluate.information_samples=200"]  # fmt: skip
QUICK = ["--epochs", "1", "--seeds", "1", "--set", "evaluate.attack=false",
         "--set", "evaluate.information_samples=50"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small run of the main job, read by several tests."""
    from narrows.cli import main

    out = tmp_path_factory.mktemp("out")
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", str(out), "--quiet", *SMALL])
    assert not stop.value.code
    return Run.open(lone_folder(out))


def test_every_model_of_every_method_is_measured(run):
    betas = {"cross_entropy": [0.0], "vib": [0.01, 0.1, 1.0], "aib": [0.01, 0.1, 1.0]}
    assert run.config.grids == betas
    assert [record.member for record in run.records()] == [
        Member(method, beta, seed) for method in betas for beta in betas[method] for seed in (0, 1)
    ]
    for record in run.records():
        assert 0 <= record.accuracy.test <= 1
        attacks = {(attack.attack, attack.eps) for attack in record.attacks}
        assert attacks == {("fgsm", 0.05), ("pgd", 0.05), ("fgsm", 0.5), ("pgd", 0.5),
                           ("deepfool", None)}  # fmt: skip
        estimates = record.information["test"]
        assert ("variational_rate" in estimates) == (record.method == "vib")


def test_stored_models_are_those_that_were_measured(run):
    tensors, header = load_tensors(run.files("vib").models)
    member = header["members"][1]
    assert (member["beta"], member["seed"]) == (0.01, 1)
    assert all(len(tensor) == 6 for tensor in tensors.values())
    assert torch.equal(tensors["method.beta"], torch.tensor([0.01, 0.01, 0.1, 0.1, 1.0, 1.0]))


def test_configuration_and_surroundings_are_stored(run):
    assert run.config.train.epochs == 2
    assert run.config.networks["vib"].bottleneck == 4
    assert run.environment.torch == torch.__version__


def test_history_has_one_line_an_epoch(run):
    history = run.history("aib")
    assert [record.epoch for record in history] == [0, 1]
    assert set(history[0].losses) == {"loss", "prediction", "donsker_varadhan"}


def test_the_page_needs_nothing_from_outside(run):
    page = (run.path / "report.html").read_text()
    loaded = re.findall(r"""(?:src|href)=["']?(?!data:)([^"'\s>]+)""", page)
    assert [address for address in loaded if "//" in address] == []
    assert "vegaEmbed" in page
    for name in ("curves", "eps", "beta", "projection"):
        assert f'id="{name}"' in page
    assert page.count("data:image/png;base64,") == 3 * 3 * 8


def test_a_finished_run_is_not_repeated(run, capsys):
    before = snapshot(run.path / "vib")
    code, out, _ = narrows(capsys, "run", "--out", run.path.parent, *SMALL)
    assert code == 0
    assert out.count("finished before, kept") == 3
    assert snapshot(run.path / "vib") == before


def test_the_configuration_of_a_run_names_the_same_run(run, capsys):
    before = snapshot(run.path / "vib")
    words = ["run", run.path / "config.json", "--out", run.path.parent]
    code, out, _ = narrows(capsys, *words)
    assert code == 0
    assert out.count("finished before, kept") == 3
    assert snapshot(run.path / "vib") == before
    assert lone_folder(run.path.parent) == run.path


def test_options_go_over_the_configuration_of_a_run(run, tmp_path, capsys):
    words = ["run", run.path / "config.json", "--out", tmp_path, "--quiet", "--methods", "vib"]
    words += ["--betas", "0.5", *QUICK, "--set", "network.bottleneck=3"]
    code, out, err = narrows(capsys, *words)
    assert (code, err) == (0, "")
    other = Run.open(lone_folder(tmp_path))
    assert out == f"Report: {other.path / 'report.html'}\n"
    assert other.members() == [Member("vib", 0.5, 0)]
    network = other.config.networks["vib"]
    assert (network.bottleneck, network.encoder) == (3, run.config.networks["vib"].encoder)


@pytest.mark.parametrize("data", ["twelve-bit", "toy1", "toy2"])
def test_data_that_are_no_images_are_measured_without_attacks(data, tmp_path, capsys):
    code, out, err = narrows(
        capsys, "run", "--data", data, "--epochs", 1, "--seeds", 1, "--out", tmp_path,
        "--methods", "cross_entropy,vib", "--betas", "0.1,0.2,0.3",
        "--set", "evaluate.information_samples=100",
    )  # fmt: skip
    assert (code, err) == (0, "")
    run = Run.open(lone_folder(tmp_path))
    assert {record.attacks for record in run.records()} == {None}
    assert "FGSM" not in out


def test_methods_of_different_networks_share_a_page_that_says_so(tmp_path, capsys):
    words = ["run", "--methods", "sfnn,vib", "--betas", "0.1", "--out", tmp_path, *QUICK]
    code, _, err = narrows(capsys, *words)
    assert (code, err) == (0, "")
    page = (lone_folder(tmp_path) / "report.html").read_text()
    assert (
        "The methods have different networks, each the default of its kind. "
        "sfnn: binary 64-64; vib: mlp 64-64-64." in page
    )


def test_a_run_can_name_its_network_too(tmp_path, capsys):
    words = ["run", "--methods", "sfnn", "--network", "binary", *QUICK, "--quiet"]
    words += ["--set", "network.encoder=[4]"]
    assert narrows(capsys, *words, "--out", tmp_path)[0] == 0
    network = Run.open(lone_folder(tmp_path)).config.networks["sfnn"]
    assert (network.name, network.encoder) == ("binary", [4])


def test_a_run_in_use_is_refused(run, capsys):
    from narrows.runs.files import locked_folder

    with locked_folder(run.path):
        words = ["run", "--out", run.path.parent, "--quiet", *SMALL]
        assert "is in use by another process" in refused(capsys, *words)


def test_a_latent_of_one_unit_is_trained_and_drawn(tmp_path, capsys):
    words = ["run", "--methods", "vib,nib", "--betas", "0.1", "--out", tmp_path, *QUICK]
    code, out, err = narrows(capsys, *words, "--set", "network.bottleneck=1")
    assert (code, err) == (0, "")
    run = Run.open(lone_folder(tmp_path))
    assert run.pictures("vib")["0.1/projection"].shape[1] == 2
    assert (run.path / "report.html").exists()
    assert "vib" in out


def test_the_summary_is_one_json_document(run, capsys):
    words = ["run", "--out", run.path.parent, "--json", *SMALL]
    code, out, err = narrows(capsys, *words)
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["folder"] == str(run.path)
    assert document["report"] == str(run.path / "report.html")
    assert document["summary"] == json.loads((run.path / "summary.json").read_text())["content"]


def test_a_method_that_diverged_is_named_beside_the_json_of_the_others(tmp_path, capsys):
    words = ["--methods", "cross_entropy,vib", "--betas", "1e38", "--json", *QUICK]
    code, out, err = narrows(capsys, "run", "--out", tmp_path, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "every model diverged" in err
    assert json.loads(out)["summary"]["vib"]["chosen_beta"] is None


def test_a_run_that_another_version_began_is_continued_with_a_note(small_run, tmp_path, capsys):
    folder = copied(small_run, tmp_path).path
    words = ["run", folder / "config.json", "--out", tmp_path]
    write_json(folder / "environment.json", "environment", Environment(narrows="0.0.1"))
    assert "begun by" not in narrows(capsys, *words)[1]
    for mark in (folder / "done.json", folder / "vib" / "done.json"):
        mark.unlink()
    code, out, err = narrows(capsys, *words)
    assert (code, err) == (0, "")
    assert "was begun by narrows 0.0.1 and is continued by narrows " in out
    assert Run.open(folder).complete
