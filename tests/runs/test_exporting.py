import pytest
import torch
from safetensors.torch import load_file

from narrows import as_classifier, export_member, load_exported
from narrows.errors import CheckpointError, ConfigError, StoreError
from narrows.runs import Member
from scenarios_runs import tiny_run

MEMBER = Member("vib", 0.1, 1)
X = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def expected(small_run):
    with torch.no_grad():
        return as_classifier(small_run.model(MEMBER), mode="mean")(X)


def test_safetensors_are_built_again_without_the_run(small_run, tmp_path, expected):
    folder = export_member(small_run, MEMBER, ["safetensors"], tmp_path / "it")
    model = load_exported(folder)
    with torch.no_grad():
        assert torch.equal(as_classifier(model, mode="mean")(X), expected)
    assert set(load_file(folder / "model.safetensors")) == set(model.state_dict())
    card = (folder / "README.md").read_text()
    record = next(r for r in small_run.records(["vib"]) if r.member == MEMBER)
    assert f"| clean, test data | {record.accuracy.test:.2%} |" in card
    assert "upper bound of the robust accuracy" in card
    assert card.startswith("---\nlibrary_name: narrows\n")


def test_a_program_of_torch_export_takes_any_batch(small_run, tmp_path, expected):
    folder = export_member(small_run, MEMBER, ["torch"], tmp_path)
    program = torch.export.load(folder / "model.pt2").module()
    torch.testing.assert_close(program(X), expected)
    torch.testing.assert_close(program(X[:1]), expected[:1])


def test_onnx_gives_the_same_logits(small_run, tmp_path, expected):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    folder = export_member(small_run, MEMBER, ["onnx"], tmp_path)
    session = runtime.InferenceSession(folder / "model.onnx")
    for count in (5, 1):
        (logits,) = session.run(None, {"images": X[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected[:count])
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.onnx"]


def test_the_folder_is_below_the_run(small_run, tmp_path):
    run = tiny_run(tmp_path, methods=["vib"], betas=[0.1], seeds=1)
    folder = export_member(run, run.member("vib"))
    assert folder == run.path / "exports" / "vib-0.1-0"
    assert "The model was not attacked." in (folder / "README.md").read_text()


def test_binary_layers_and_plain_networks_are_exported(tmp_path):
    run = tiny_run(
        tmp_path, methods=["cross_entropy", "sfnn"], betas=[0.1], seeds=1,
        network=None, networks={"cross_entropy": {"bottleneck": 0}, "sfnn": {"name": "binary"}},
    )  # fmt: skip
    for method in run.config.methods:
        folder = export_member(run, run.member(method), ["safetensors", "torch"])
        program = torch.export.load(folder / "model.pt2").module()
        with torch.no_grad():
            mean = as_classifier(load_exported(folder), mode="mean")
            torch.testing.assert_close(program(X), mean(X))


def test_what_cannot_be_exported_or_loaded(small_run, tmp_path):
    with pytest.raises(ConfigError, match="unknown format 'onx'; did you mean 'onnx'"):
        export_member(small_run, MEMBER, ["onx"], tmp_path)
    with pytest.raises(StoreError, match=r"holds no model\.json; export the model as safetensors"):
        load_exported(tmp_path)
    folder = export_member(small_run, MEMBER, ["safetensors"], tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-3])
    with pytest.raises(CheckpointError):
        load_exported(folder)


def test_onnx_without_its_packages_says_what_to_install(small_run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"pip install 'narrows\[onnx\]'"):
        export_member(small_run, MEMBER, ["onnx"], tmp_path)
