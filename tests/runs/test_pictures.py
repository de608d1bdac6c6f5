"""A file of pictures whose checksum is right is still read through a check of its contents."""

from pathlib import Path

import pytest
import torch

from narrows.errors import CheckpointError, NarrowsError
from narrows.report import write_report
from narrows.runs import Run
from narrows.runs.pictures import ATTACKED, check_pictures
from narrows.storage import load_tensors, save_tensors
from scenarios_runs import copied

PATH = Path("pictures.safetensors")


def images(count=2, shape=(1, 8, 8)):
    listed = {name: torch.rand(count, *shape) for name in ATTACKED}
    labels = {f"{name}_predicted": torch.zeros(count, dtype=torch.long) for name in ATTACKED}
    return {**listed, **labels, "label": torch.ones(count, dtype=torch.long)}


def points():
    return {"0.1/projection": torch.rand(5, 2), "0.1/projection_label": torch.arange(5)}


@pytest.mark.parametrize(
    "tensors",
    [{}, images(), images(shape=(3, 4, 4)), images(shape=(6,)), images(shape=(5, 4, 4)),
     images(shape=(4, 8, 8)), images(shape=(2, 3, 5)), points(),
     {**images(), **points()}],
)  # fmt: skip
def test_what_a_run_stores_is_accepted(tensors):
    assert check_pictures(PATH, tensors).keys() == tensors.keys()


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize("name", images())
def test_a_missing_tensor_is_named(name):
    with pytest.raises(CheckpointError, match=rf"pictures\.safetensors .* no tensor '{name}'"):
        check_pictures(PATH, without(images(), name))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("clean", torch.rand(2)),
        ("clean", torch.zeros(2, 1, 8, 8, dtype=torch.long)),
        ("pgd", torch.rand(2, 1, 8, 9)),
        ("pgd", torch.rand(1, 1, 8, 8)),
        ("deepfool_predicted", torch.zeros(2)),
        ("deepfool_predicted", torch.zeros(3, dtype=torch.long)),
        ("label", torch.zeros(2, 1, dtype=torch.long)),
        ("0.1/projection", torch.rand(5, 3)),
        ("0.1/projection", torch.rand(5, 1)),
        ("0.1/projection", torch.rand(5)),
        ("0.1/projection", torch.zeros(5, 2, dtype=torch.long)),
        ("0.1/projection_label", torch.zeros(4, dtype=torch.long)),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_named(name, tensor):
    with pytest.raises(CheckpointError, match=f"'{name}' is torch"):
        check_pictures(PATH, {**images(), **points(), name: tensor})


def test_points_have_labels():
    with pytest.raises(CheckpointError, match=r"no tensor '0\.1/projection_label'"):
        check_pictures(PATH, without(points(), "0.1/projection_label"))


@pytest.mark.parametrize("name", ["pgd", "label", "clean_predicted"])
def test_a_signed_file_without_a_tensor_costs_one_line(small_run, tmp_path, name):
    run = copied(small_run, tmp_path)
    path = run.files("vib").pictures
    tensors, header = load_tensors(path)
    assert name in tensors
    save_tensors(path, without(tensors, name), header)
    with pytest.raises(NarrowsError, match=f"no tensor '{name}'"):
        write_report(Run.open(run.path))
