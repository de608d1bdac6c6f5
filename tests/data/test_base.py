import numpy as np
import pytest
import torch

from narrows.data import Dataset, split_off
from narrows.errors import DataError, InputError


def dataset(x=None, y=None, **keywords):
    x = torch.rand(4, 3) if x is None else x
    y = torch.tensor([0, 1, 1, 0]) if y is None else y
    return Dataset("toy", x, y, **{"classes": 2, **keywords})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"x": torch.tensor([[0.0], [0.5], [float("nan")], [1.0]])}, "1 inputs hold NaN.*first 2"),
        ({"x": torch.full((4, 1), float("inf"))}, "4 inputs hold NaN or inf, first 0"),
        ({"x": torch.full((4, 1), 255.0)}, "divide by 255"),
        ({"x": torch.full((4, 1), -0.1)}, r"images must lie in \[0, 1\], got -0.1"),
        ({"x": torch.rand(3, 1)}, "3 inputs and 4 labels"),
        ({"x": torch.rand(0, 1), "y": torch.zeros(0, dtype=torch.int64)}, "0 inputs and 0 labels"),
        ({"x": torch.rand(4)}, r"inputs must be \[n, ...\]"),
        ({"x": torch.rand(4, 1).to("meta")}, "inputs must hold numbers"),
        ({"y": torch.tensor([0, 1, 1, 0]).to("meta")}, "labels must hold numbers"),
        ({"x": torch.rand(4, 1).to_sparse()}, r"inputs must be a dense tensor; write .to_dense"),
        ({"x": torch.zeros(4, 1, dtype=torch.int64)}, "floating point or uint8, got torch.int64"),
        ({"x": torch.zeros(4, 1, dtype=torch.uint8), "image": False}, "uint8 inputs are images"),
        ({"y": torch.tensor([0, 1, 2, 0])}, r"labels must lie in 0..1, got 0..2"),
        ({"y": torch.tensor([0, 1, -1, 0])}, r"labels must lie in 0..1, got -1..1"),
        (
            {"y": torch.tensor([0.0, 1.0, 1.0, 0.0])},
            r"got float32 \[4\]; write labels.long",
        ),
        (
            {"y": torch.zeros(4, 1, dtype=torch.int64)},
            r"got int64 \[4, 1\]; write labels.squeeze",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused_by_name(bad, message):
    with pytest.raises(DataError, match=message) as raised:
        dataset(**bad)
    assert str(raised.value).startswith("toy: ")


def test_arrays_and_lists_of_any_integer_type_become_tensors():
    x, y = np.array([[0.0], [0.5], [1.0]]), [0, 1, 1]
    for labels in (y, np.array(y, dtype=np.int32), np.array(y, dtype=np.uint8), torch.tensor(y)):
        for inputs in (x, x.tolist(), x.astype(np.float32)):
            data = Dataset("d", inputs, labels, 2)
            assert (data.x.dtype, data.y.dtype) == (torch.float32, torch.int64)
            assert data.all().x.squeeze(1).tolist() == [0, 0.5, 1]
            assert data.all().y.tolist() == y
    pixels = Dataset("d", np.full((3, 2, 2), 255, dtype=np.uint8), y, np.int64(2))
    assert pixels.all().x.unique().tolist() == [1]


@pytest.mark.parametrize(
    ("x", "y", "classes", "message"),
    [
        ("pixels", [0, 1], 2, "inputs must be a torch.Tensor, a NumPy array or nested lists"),
        ([[0.0], [1.0]], {0, 1}, 2, "labels must be a torch.Tensor"),
        ([[0.0], [1.0]], ["a", "b"], 2, "labels must hold real numbers"),
        ([[0.0], [1.0]], [0, 1], 2.5, "classes must be a whole number, got 2.5"),
        ([[0.0], [1.0]], [0, -1], 2, r"labels must lie in 0..1, got -1..0; leave out"),
        ([[0.0], [1.0, 2.0]], [0, 1], 2, "inputs is not a table of numbers"),
        ([[0.0], [1.0]], [[1, 0], [0, 1]], 2, r"labels must .* write labels.argmax\(1\)"),
    ],
)
def test_other_things_than_arrays_are_refused_by_the_name_of_the_data(x, y, classes, message):
    with pytest.raises(DataError, match=f"^mine: {message}"):
        Dataset("mine", x, y, classes)


def test_inputs_that_are_no_images_may_leave_the_unit_interval():
    data = dataset(x=torch.full((4, 2), -7.0), image=False)
    assert data.all().x.min() == -7
    assert not data.take(slice(2)).image


def test_bytes_are_served_as_floats_between_0_and_1():
    x = torch.tensor([[0], [51], [102], [255]], dtype=torch.uint8)
    data = dataset(x=x)
    torch.testing.assert_close(data.all().x, torch.tensor([[0.0], [0.2], [0.4], [1.0]]))
    assert torch.equal(data.x, x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_batches_are_float32_and_keep_the_shape_of_their_rows(dtype):
    data = dataset(x=torch.ones(4, 1, 2, 2).to(dtype))
    rows = torch.tensor([[0, 1, 2], [3, 2, 1]])
    batch = data.batch(rows)
    assert batch.x.shape == (2, 3, 1, 2, 2)
    assert batch.x.dtype == torch.float32
    assert batch.y.tolist() == [[0, 1, 1], [0, 1, 1]]


def test_length_shape_and_short_repr():
    data = dataset(x=torch.zeros(4, 1, 28, 28, dtype=torch.uint8))
    assert (len(data), data.shape) == (4, (1, 28, 28))
    assert repr(data) == "Dataset('toy', 4 x [1, 28, 28] uint8, 2 classes)"
    assert data.to("cpu").x.dtype == torch.uint8


def counting(sizes):
    """A data set whose input is its own row number, with `sizes[c]` samples of class c, mixed."""
    y = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(7))]
    x = torch.arange(len(y), dtype=torch.float32)[:, None]
    return Dataset("counting", x, y, classes=len(sizes), image=False)


def test_split_takes_the_share_of_every_class_and_loses_nothing():
    data = counting([100, 50, 10])
    kept, given = split_off(data, 0.2, seed=0)
    assert given.y.bincount().tolist() == [20, 10, 2]
    assert sorted([*kept.x.flatten().tolist(), *given.x.flatten().tolist()]) == list(range(160))
    for part in (kept, given):
        rows = part.x.flatten().long()
        assert torch.equal(rows, rows.sort().values)
        assert torch.equal(part.y, data.y[rows])


def test_split_depends_on_the_seed_alone():
    data = counting([100, 50])
    torch.manual_seed(1)
    first = split_off(data, 0.2, seed=0)[1].x
    torch.manual_seed(2)
    assert torch.equal(first, split_off(data, 0.2, seed=0)[1].x)
    assert not torch.equal(first, split_off(data, 0.2, seed=1)[1].x)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_split_refuses_shares_outside_the_open_interval(share):
    with pytest.raises(InputError, match="share"):
        split_off(counting([4]), share, seed=0)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_split_refuses_to_leave_a_part_empty(share):
    with pytest.raises(DataError, match="2 samples in 2 classes"):
        split_off(counting([1, 1]), share, seed=0)
