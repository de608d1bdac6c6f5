"""A trained model of a run as files that other programs read.

| format        | file                              | read by                                     |
|---------------|-----------------------------------|---------------------------------------------|
| `safetensors` | `model.safetensors`, `model.json` | `load_exported`, any reader of safetensors  |
| `onnx`        | `model.onnx`                      | ONNX Runtime and others; needs `onnxscript` |
| `torch`       | `model.pt2`                       | `torch.export.load`                         |

A `README.md` beside them is the model card: what the model is and what was measured. The last two
formats map images to logits at the mean of the code, without noise, for any batch size.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.checks import check_path
from narrows.errors import ConfigError, StoreError, unknown_name
from narrows.methods import METHODS
from narrows.models import NetworkConfig, build_network
from narrows.models.bottleneck import Stochastic
from narrows.models.outputs import as_output
from narrows.runs.files import make_folder, read_json, write_json
from narrows.runs.records import Member, MemberRecord
from narrows.runs.run import Run
from narrows.storage import load_tensors, save_tensors, write_atomically
from narrows.training.state import copy_tensors

__all__ = ["FORMATS", "ExportedModel", "export_member", "load_exported"]

FORMATS = ["safetensors", "onnx", "torch"]
_KIND = "exported model"
_WEIGHTS, _MODEL, _CARD = "model.safetensors", "model.json", "README.md"


@dataclass(frozen=True)
class ExportedModel:
    """What is needed to build the network again, and where it came from.

    Attributes:
        network: its configuration.
        latent: the kind of latent that its method trains.
        shape: of one input.
        classes: number of classes.
        class_names: what they are called; empty for their numbers.
        member: which model of the run it is.
        run: name of the run's folder.
        data: name of the data set.
    """

    network: NetworkConfig
    latent: str
    shape: list[int]
    classes: int
    class_names: list[str]
    member: Member
    run: str
    data: str


def export_member(
    run: Run, member: Member, formats: Sequence[str] = ("safetensors",), out: Path | None = None
) -> Path:
    """Write a model of a run in other formats, with a model card.

    Args:
        run: that it was trained in.
        member: which of its models.
        formats: any of `FORMATS`.
        out: folder; `None` for one below the run's folder.

    Returns:
        The folder.

    Raises:
        ConfigError: for an unknown format, one whose library is not installed, or a model that it
            cannot hold.
        StoreError: for a model that the run does not have, or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    model = run.model(member)
    folder = make_folder(out or run.path / "exports" / member.key)
    exported = ExportedModel(
        network=run.config.networks[member.method].short(),
        latent=METHODS[member.method].latent,
        shape=list(run.shape),
        classes=run.classes,
        class_names=run.class_names,
        member=member,
        run=run.path.name,
        data=run.config.data_name,
    )
    example = torch.zeros(2, *run.shape)
    if "safetensors" in formats:
        save_tensors(folder / _WEIGHTS, model.state_dict(), {"model": _MODEL})
        write_json(folder / _MODEL, _KIND, exported)
    if "onnx" in formats:
        _write_onnx(folder / "model.onnx", _at_the_mean(model), example)
    if "torch" in formats:
        _write_program(folder / "model.pt2", _at_the_mean(model), example)
    (record,) = (r for r in run.records([member.method]) if r.member == member)
    card = _card(exported, record, formats)
    write_atomically(folder / _CARD, card.encode())
    return folder


def load_exported(folder: str | Path) -> nn.Module:
    """Build an exported model again, in evaluation mode; nothing of the run is needed.

    Args:
        folder: with `model.safetensors` and `model.json`.

    Raises:
        StoreError: if they are not there, or damaged.
        ConfigError: for a network of a file of the user's own, which only the run can build.
        CheckpointError: for weights that do not fit.
    """
    path = check_path(folder)
    if not (path / _MODEL).is_file():
        raise StoreError(f"{path} holds no {_MODEL}; export the model as safetensors")
    exported = read_json(path / _MODEL, _KIND, ExportedModel)
    if exported.network.is_own:
        raise ConfigError(
            f"the network of {path} is built by {exported.network.name}, which is not a part of "
            "it; build it yourself and load model.safetensors into it"
        )
    latent: Any = exported.latent
    model = build_network(exported.network, exported.shape, exported.classes, latent)
    copy_tensors(model.state_dict(), load_tensors(path / _WEIGHTS, kind=_KIND)[0])
    return model.eval()


class _AtTheMean(nn.Module):
    """Images to logits, with the code at its mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return as_output(self.model(x)).logits


def _at_the_mean(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    for part in model.modules():
        if isinstance(part, Stochastic):
            part.mode, part.samples = "mean", None
    return _AtTheMean(model).eval()


def _write_program(path: Path, model: nn.Module, example: Tensor) -> None:
    buffer = io.BytesIO()
    with _quiet(), _explained("torch.export"):
        torch.export.save(_program(model, example), buffer)
    write_atomically(path, buffer.getvalue())


def _write_onnx(path: Path, model: nn.Module, example: Tensor) -> None:
    if find_spec("onnxscript") is None:
        raise ConfigError(
            "ONNX needs two more packages; install them with pip install 'narrows[onnx]'"
        )
    temporary = path.with_suffix(".tmp.onnx")
    try:
        with _quiet(), _explained("ONNX"):
            torch.onnx.export(
                model,
                (example,),
                temporary,
                dynamo=True,
                external_data=False,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
                verbose=False,
            )
        write_atomically(path, temporary.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)


def _program(model: nn.Module, example: Tensor) -> Any:
    shapes = {"x": {0: torch.export.Dim("batch")}}
    with torch.no_grad():
        return torch.export.export(model, (example,), dynamic_shapes=shapes)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own words on deprecations and on what they print."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _explained(kind: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of a tracer that meets code it cannot follow
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{kind} cannot hold this model ({type(error).__name__}: {reason}); export it as "
            "safetensors"
        ) from error


def _card(exported: ExportedModel, record: MemberRecord, formats: Sequence[str]) -> str:
    """The model card, in the form of the Hugging Face Hub."""
    accuracy, member = record.accuracy, exported.member
    beta = f", beta = {member.beta:g}" if METHODS[member.method].has_beta else ""
    lines = [
        "---",
        "library_name: narrows",
        "pipeline_tag: image-classification" if len(exported.shape) == 3 else "tags: [tabular]",
        "---",
        "",
        f"# {member.method} on {exported.data}",
        "",
        f"A classifier of {exported.classes} classes, trained by {member.method}{beta}, seed "
        f"{member.seed}, in the run {exported.run} of narrows.",
        "",
        f"- Input: {list(exported.shape)}, "
        + ("in [0, 1]; normalisation is a part of the model." if record.attacks else "float32."),
        f"- Output: {exported.classes} logits"
        + (f": {', '.join(exported.class_names)}." if exported.class_names else "."),
        f"- Network: {exported.network.name}, latent: {exported.latent}.",
        f"- Adversarial training: {record.adversarial or 'none'}.",
        "",
        "## What was measured",
        "",
        "| | accuracy |",
        "| --- | --- |",
        *(f"| clean, {part} data | {value:.2%} |" for part, value in asdict(accuracy).items()),
        *_attack_rows(record),
        "",
        "Accuracy under an attack is an upper bound of the robust accuracy: `narrows audit` says "
        "whether it may be claimed." if record.attacks else "The model was not attacked.",
        "",
        "## How to use it",
        "",
        *_usage(formats),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _attack_rows(record: MemberRecord) -> list[str]:
    return [
        f"| {entry.attack}, {entry.norm} eps = {entry.eps:g}, {entry.images} images | "
        f"{entry.accuracy:.2%} |"
        for entry in record.attacks or []
        if entry.eps is not None and entry.accuracy is not None
    ]


def _usage(formats: Sequence[str]) -> list[str]:
    calls = {
        "safetensors": "model = narrows.load_exported(folder)",
        "onnx": 'logits = onnxruntime.InferenceSession("model.onnx").run(None, {"images": x})[0]',
        "torch": 'logits = torch.export.load("model.pt2").module()(x)',
    }
    return ["```python", *(calls[name] for name in formats), "```"]
