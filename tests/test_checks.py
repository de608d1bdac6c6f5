"""Each check accepts what means the same, and says of everything else what to write instead."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows import checks
from narrows.errors import ConfigError, InputError
from narrows.models.outputs import as_output

IMAGES = torch.rand(3, 4)
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16]


@pytest.mark.parametrize(
    "given",
    [
        np.ones((2, 3)),
        np.ones((2, 3), np.float16),
        np.ones((2, 6))[:, ::-2],
        np.ones((2, 3), ">f4"),
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
        ((1, 1, 1), (1, 1, 1)),
        [torch.ones(3), torch.ones(3)],
        [np.ones(3), np.ones(3)],
    ],
    ids=lambda given: type(given).__name__,
)
def test_arrays_and_lists_become_tensors(given):
    assert checks.as_tensor(given, "x").double().equal(torch.ones(2, 3, dtype=torch.float64))


def test_a_tensor_is_not_copied_and_an_array_is():
    tensor, array = torch.ones(2), np.ones(2)
    array.setflags(write=False)
    assert checks.as_tensor(tensor, "x") is tensor
    checks.as_tensor(array, "x").zero_()
    assert array.sum() == 2


@pytest.mark.parametrize(
    "given",
    ["0.1", None, {"x": 1}, {1}, object(), ["a", "b"], [[1.0], [1.0, 2.0]], [None], b"12",
     [torch.ones(2), torch.ones(3)], np.array(["a"]), np.array([1j]),
     np.ma.masked_greater([1.0, 2.0], 1.5)],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_what_is_no_table_of_numbers_is_refused(given):
    with pytest.raises(InputError, match=r"^x "):
        checks.as_tensor(given, "x")


def test_images_take_the_type_of_the_model_where_they_have_none_of_their_own():
    like = torch.zeros((), dtype=torch.float64)
    assert checks.check_images(np.ones((2, 3)), like=like).dtype == torch.float64
    assert checks.check_images(np.ones((2, 3))).dtype == torch.float32
    assert checks.check_images([[0.5]]).dtype == torch.float32
    assert checks.check_images(IMAGES, like=like) is not None
    assert checks.check_images(IMAGES, like=like).dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (IMAGES * 255, "divide 0-255 images by 255"),
        (IMAGES - 1, r"lie in \[0, 1\]"),
        (IMAGES.masked_fill(IMAGES > 0.1, math.nan), "nan"),
        ((IMAGES * 255).to(torch.uint8), "got uint8"),
        (torch.rand(4), "n, ..."),
        (torch.rand(0, 4), "empty"),
        (torch.rand(2, 0), "empty"),
        ("cat.png", "got str"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_images_that_no_attack_can_take(given, says):
    with pytest.raises(InputError, match=says):
        checks.check_images(given)


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_labels_of_any_integer_type_are_the_same_labels(kind):
    labels = checks.check_labels(torch.tensor([0, 2, 1]).to(kind), 3, 3)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize("given", [[0, 2, 1], (0, 2, 1), np.uint32([0, 2, 1]), np.int8([0, 2, 1])])
def test_labels_may_be_lists_and_arrays(given):
    assert checks.check_labels(given, 3, 3).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (torch.tensor([0.0, 1.0, 2.0]), r"labels.long\(\)"),
        (torch.tensor([True, False, True]), r"labels.long\(\)"),
        (torch.eye(3), r"labels.argmax\(1\)"),
        (torch.zeros(3, 1, dtype=torch.long), r"labels.squeeze\(1\)"),
        (torch.tensor([0, -100, 2]), "leave out"),
        (torch.tensor([0, 1, 3]), r"0\.\.2, got 0\.\.3"),
        (torch.tensor([0, 1]), "each of 3 samples, got 2"),
        (torch.tensor(1), "got int64"),
        ("012", "got str"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_labels_that_are_none(given, says):
    with pytest.raises(InputError, match=says):
        checks.check_labels(given, 3, 3)


def test_values_are_not_looked_at_where_there_are_none():
    labels = torch.zeros(3, dtype=torch.long, device="meta")
    assert checks.check_labels(labels, 3, 2).is_meta
    assert checks.check_images(torch.zeros(3, 2, device="meta")).is_meta
    torch.vmap(lambda x: checks.check_images(x))(torch.rand(2, 3, 4))


def test_a_probability_of_zero_is_no_fault_of_a_model():
    logits = torch.tensor([[0.0, -math.inf], [1.0, 2.0]])
    assert checks.check_logits(logits, 2) is logits


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (torch.zeros(3, 1), "torch.cat"),
        (torch.zeros(2, 5), r"\[3, classes\]"),
        (torch.zeros(3), r"\[3, classes\]"),
        (torch.zeros(3, 5, dtype=torch.long), "floating point"),
        (torch.full((3, 5), math.inf), "3 of 3"),
        (torch.tensor([[0.0, 1.0], [0.0, math.nan], [1.0, 1.0]]), "1 of 3 inputs.* number 1"),
    ],
)
def test_outputs_that_are_no_logits(given, says):
    with pytest.raises(InputError, match=says):
        checks.check_logits(given, 3)


def test_samples_are_float64_columns():
    assert checks.check_samples([1, 2, 3]).shape == (3, 1)
    assert checks.check_samples(torch.ones(3, 2, dtype=torch.float16)).dtype == torch.float64
    assert checks.check_samples([[0.1], [0.2]])[0, 0].item() == 0.1
    assert checks.check_samples([2**53, -(2**53)])[0, 0].item() == 2**53
    assert checks.as_tensor(np.ma.masked_greater([1.0, 2.0], 3), "x").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (torch.zeros(3, 2, 2), r"z.flatten\(1\)"),
        (torch.zeros(3, 0), "no columns"),
        (torch.zeros(1, 2), "1 samples"),
        (torch.full((3, 1), math.nan), "NaN"),
        (torch.full((3, 1), 1e200, dtype=torch.float64), "overflow"),
        (torch.zeros(3, 1, dtype=torch.complex64), "real"),
        (torch.arange(3) + 2**60, "which float64 rounds; subtract a constant"),
        (np.arange(3, dtype=np.uint64) + 2**63, "which float64 rounds"),
        (np.array([1.0, 2.0], dtype=object), r"write .astype\(float\)"),
    ],
)
def test_samples_that_cannot_be_measured(given, says):
    with pytest.raises(InputError, match=says):
        checks.check_samples(given)


def test_a_joint_is_normalised_and_counts_are_told_how():
    assert checks.check_joint([[0.5, 0.0], [0.25, 0.25]]).sum() == 1
    with pytest.raises(InputError, match=r"joint / joint.sum\(\)"):
        checks.check_joint([[3, 1], [2, 2]])
    for bad in ([0.5, 0.5], [[1.5, -0.5]], [[math.nan, 1.0]], [[]], "p"):
        with pytest.raises(InputError):
            checks.check_joint(bad)


@pytest.mark.parametrize("value", [2.5, 2.0, "2", True, None, math.nan, 0, -1])
def test_what_does_not_count(value):
    with pytest.raises(ConfigError, match=r"^k must be"):
        checks.check_count(value, "k")


def test_counts_of_numpy_count():
    assert checks.check_count(np.int64(3), "k") == 3
    with pytest.raises(InputError):
        checks.check_count(2.5, "k", error=InputError)


@pytest.mark.parametrize("value", ["0.1", True, None, math.nan, math.inf, -0.1, 1.1, 1j])
def test_what_is_no_number_in_range(value):
    with pytest.raises(ConfigError, match=r"^eps must be"):
        checks.check_number(value, "eps", 0, 1)


def test_a_range_is_said_in_words():
    with pytest.raises(ConfigError, match="eps must be finite, at least 0 and at most 1, got 2"):
        checks.check_number(2, "eps", 0, 1)
    with pytest.raises(ConfigError, match="width must be finite and larger than 0, got 0"):
        checks.check_number(0, "width", above=0)
    assert checks.check_number(np.float32(0.5), "eps", 0, 1) == 0.5


def test_paths_and_their_texts():
    assert checks.check_path("a/b") == checks.check_path(Path("a/b")) == Path("a/b")
    for bad in ("", "a\0b", 3, None, b"a"):
        with pytest.raises(ConfigError, match="path must be a path"):
            checks.check_path(bad)


def other_layouts():
    table = torch.rand(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "to_dense": [table.to_sparse(), table.to_sparse_csr(), table.to_mkldnn()],
            "to_padded_tensor": [torch.nested.nested_tensor(list(table))],
            "dequantize": [torch.quantize_per_tensor(table, 0.1, 0, torch.quint8)],
        }


@pytest.mark.parametrize("write", ["to_dense", "to_padded_tensor", "dequantize"])
def test_a_tensor_that_is_not_dense_is_refused_with_its_conversion(write):
    for tensor in other_layouts()[write]:
        for check in (checks.as_tensor, checks.check_images, checks.check_samples):
            with pytest.raises(InputError, match=rf"^x must .*{write}\("):
                check(tensor, "x")
        with pytest.raises(InputError, match=write):
            checks.check_labels(tensor)
        with pytest.raises(InputError, match=f"logits must .*{write}"):
            as_output(tensor)


def test_a_tensor_without_numbers_is_refused_where_numbers_are_needed():
    tensor = torch.rand(3, 4)
    assert checks.check_dense(tensor, "x", present=True) is tensor
    assert checks.check_dense(tensor.to("meta"), "x").is_meta
    with pytest.raises(InputError, match="x must hold numbers; a tensor on the meta device"):
        checks.check_dense(tensor.to("meta"), "x", present=True)


def test_a_path_is_utf_8():
    for path in ("runs/\udcff", Path("a\udc80b"), "\ud800"):
        with pytest.raises(ConfigError, match="path must be a path in UTF-8"):
            checks.check_path(path)
    assert checks.check_path("läufe/η") == Path("läufe/η")
