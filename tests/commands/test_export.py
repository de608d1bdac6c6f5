"""`narrows export`: which model of a run is written, where, and in which files."""

import json
import sys

import pytest
import torch

from narrows import load_exported
from narrows.runs import Member
from scenarios_runs import copied, narrows, refused

FILES = ["README.md", "model.safetensors", "model.json"]


def test_the_files_of_a_chosen_member_are_named(small_run, tmp_path, capsys):
    code, out, err = narrows(
        capsys, "export", small_run.path, "--method", "vib", "--beta", 0.1, "--seed", 1,
        "--out", tmp_path / "it",
    )  # fmt: skip
    assert (code, err) == (0, "")
    kinds = ["Model card", "Weights", "Network"]
    assert out.splitlines() == [
        f"{kind}: {tmp_path / 'it' / file}" for kind, file in zip(kinds, FILES, strict=True)
    ]
    assert {path.name for path in (tmp_path / "it").iterdir()} == set(FILES)
    weights = small_run.model(Member("vib", 0.1, 1)).state_dict()
    for name, tensor in load_exported(tmp_path / "it").state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_a_method_alone_means_the_beta_of_validation_below_the_run(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    code, out, _ = narrows(capsys, "export", run.path, "--method", "vib", "--json")
    result = json.loads(out)
    member = run.member("vib")
    assert code == 0
    assert result == {
        "member": {"method": "vib", "beta": member.beta, "seed": 0},
        "files": FILES,
        "folder": str(run.path / "exports" / member.key),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "method must be named; valid: cross_entropy, vib"),
        (["--method", "vob"], "vob"),
        (["--method", "vib", "--beta", "0.2"], "0.2"),
        (["--method", "vib", "--seed", "7"], "7"),
        (["--method", "vib", "--formats", "onx"], "unknown format 'onx'; did you mean 'onnx'"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_is_one_line(small_run, tmp_path, capsys, words, message):
    out = tmp_path / "it"
    assert message in refused(capsys, "export", small_run.path, *words, "--out", out)
    assert not out.exists()


def test_onnx_without_its_packages_says_what_to_install(small_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    words = ("--method", "vib", "--formats", "safetensors,onnx", "--out", tmp_path)
    error = refused(capsys, "export", small_run.path, *words)
    assert "pip install 'narrows[onnx]'" in error


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert "it has no config.json" in refused(capsys, "export", tmp_path)
