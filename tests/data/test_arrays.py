import numpy as np
import pytest
import torch

from narrows.data import Dataset
from narrows.data.arrays import Part, as_parts, to_splits
from narrows.errors import DataError

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3


def splits(x, y=Y):
    return to_splits("it", {"": Part(x, y)})


def test_a_fifth_of_each_class_is_held_out_twice():
    made = splits(RNG.random((60, 4)))
    assert [len(part) for part in made] == [39, 9, 12]
    for part, count in zip(made, (13, 3, 4), strict=True):
        assert part.y.bincount().tolist() == [count] * 3
    again = splits(RNG.random((60, 4)))
    assert torch.equal(made.test.y, again.test.y)


def test_no_sample_is_in_two_parts():
    x = np.arange(60.0)[:, None] / 60
    seen = torch.cat([part.x for part in splits(x)]).squeeze(1)
    assert sorted((60 * seen).round().tolist()) == list(range(60))


def test_given_parts_are_taken():
    raw = {"train": Part(RNG.random((60, 4)), Y), "test": Part(RNG.random((9, 4)), Y[:9])}
    assert [len(part) for part in to_splits("it", raw)] == [48, 12, 9]
    raw["validation"] = Part(RNG.random((6, 4)), Y[:6])
    assert [len(part) for part in to_splits("it", raw)] == [60, 6, 9]


def test_features_are_standardised_by_the_training_set():
    x = RNG.normal(5, [1, 1000, 1], (60, 3))
    x[:, 2] = 7  # constant
    made = splits(x)
    assert not made.train.image
    torch.testing.assert_close(made.train.x.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    stds = made.train.x.std(0, correction=0)
    torch.testing.assert_close(stds, torch.tensor([1.0, 1, 0]))
    assert made.test.x.mean().abs() > 1e-3
    assert "standardised" in made.test.notes[-1]


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, 1.7e9), (1e-300, 0.0), (1e300, 0.0), (1e-4, -1e10)]
)
def test_features_of_any_unit_become_the_same(scale, offset):
    x = RNG.integers(-40, 41, (60, 3)).astype(float)
    made, wanted = splits(scale * x + offset), splits(x)
    torch.testing.assert_close(made.train.x, wanted.train.x, atol=2e-2, rtol=0)
    assert made.train.x.dtype == torch.float32
    assert made.train.x.std(0, correction=0).sub(1).abs().max() < 1e-3


def test_a_feature_that_only_rounding_changes_is_constant():
    x = np.concatenate([RNG.random((60, 1)) * 9, np.full((60, 1), 7.1)], 1)
    x[::7, 1] = np.nextafter(7.1, 8)
    assert splits(x).train.x[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("x", "dtype", "shape"),
    [
        (RNG.integers(0, 256, (60, 5, 5)).astype(np.uint8), torch.uint8, (1, 5, 5)),
        (RNG.integers(0, 256, (60, 5, 5, 3)), torch.uint8, (3, 5, 5)),
        (RNG.integers(0, 256, (60, 25)).astype(np.uint8), torch.uint8, (25,)),
        (RNG.integers(0, 256, (60, 5, 5)).astype(float), torch.uint8, (1, 5, 5)),
        (RNG.integers(0, 65536, (60, 5, 5)).astype(np.uint16), torch.float32, (1, 5, 5)),
        (RNG.random((60, 3, 5, 5)), torch.float32, (3, 5, 5)),
        (RNG.random((60, 5, 5, 3)).astype(np.float32), torch.float32, (3, 5, 5)),
        (torch.rand(60, 5, 5), torch.float32, (1, 5, 5)),
        (RNG.integers(0, 2, (60, 12)).astype(bool), torch.float32, (12,)),
        (RNG.integers(0, 2, (60, 12)).astype(np.uint8), torch.float32, (12,)),
    ],
)
def test_what_is_an_image(x, dtype, shape):
    train = splits(x).train
    assert (train.x.dtype, train.shape, train.image) == (dtype, shape, True)
    assert (train.all().x.max() <= 1) & (train.all().x.max() > 0.8)


def test_whole_numbers_of_a_table_are_features():
    assert not splits(RNG.integers(0, 90, (60, 5))).train.image
    assert not splits(RNG.integers(0, 90, (60, 5)).astype(np.uint32)).train.image


def test_classes_without_a_sample_are_noted():
    raw = {"train": Part(RNG.random((60, 4)), Y), "test": Part(RNG.random((9, 4)), Y[:9] * 0)}
    notes = to_splits("it", raw).train.notes
    assert "the test set has no sample of the classes 1, 2" in notes
    assert not any("train" in note for note in notes)


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.array(["cat", "dog", "ant"])[Y], ("ant", "cat", "dog")),
        (np.array(["cat", "dog", "ant"], dtype="S")[Y], ("ant", "cat", "dog")),
        (np.array(["cat", "dog", "ant"], dtype=object)[Y], ("ant", "cat", "dog")),
        (["a" if i else "b" for i in Y], ("a", "b")),
        (Y + 1, ("1", "2", "3")),
        (2 * (Y > 0) - 1, ("-1", "1")),
        (Y * 10.0, ("0", "10", "20")),
        (Y.astype(np.uint8), ()),
        (Y[:, None], ()),
        (Y > 0, ()),
        (torch.from_numpy(Y), ()),
    ],
    ids=str,
)
def test_labels_are_numbered_and_named(y, names):
    made = splits(RNG.random((60, 4)), y)
    assert made.train.class_names == names
    assert sorted(made.train.y.unique().tolist()) == list(range(made.train.classes))
    assert any("numbered" in note for note in made.train.notes) == bool(names)


def test_the_numbering_is_that_of_the_values():
    (made,) = as_parts("it", {"": Part([[0.0], [1.0], [0.5]], ["b", "a", "b"])}).values()
    assert made.y.tolist() == [1, 0, 1]


def test_named_classes_keep_their_numbers():
    part = Part([[0.0], [1.0]], [2, 0], ("a", "b", "c"))
    (made,) = as_parts("it", {"": part}).values()
    assert (made.y.tolist(), made.classes) == ([2, 0], 3)


X = RNG.random((60, 4))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"": Part(np.where(X > 0.99, np.nan, X), Y)}, "NaN or inf, the first of them number"),
        ({"": Part(X[:, 0], Y)}, r"write x.reshape\(-1, 1\)"),
        ({"": Part(X.astype(object), Y)}, "nested lists of numbers"),
        ({"": Part(X, Y[:9])}, "as many labels as inputs"),
        ({"": Part(X, np.eye(3)[Y])}, r"labels.argmax\(1\)"),
        ({"": Part(X, RNG.random(60))}, "labels must be classes, got real numbers"),
        ({"": Part(X, np.where(Y == 1, np.inf, Y))}, "real numbers like inf"),
        ({"": Part(X, np.where(Y == 1, 1e30, Y))}, r"real numbers like 1e\+30"),
        ({"": Part(X, np.array([None] * 60))}, "whole numbers or text"),
        ({"": Part(X, Y * 0)}, "only one class"),
        ({"": Part(X[:2], Y[:2])}, "too few to split"),
        ({"": Part(RNG.normal(size=(60, 3, 5, 5)), Y)}, "leave normalisation to the model"),
        ({"": Part(255 * RNG.random((60, 5, 5, 3)), Y)}, "divide by 255"),
        ({"test": Part(X, Y)}, r"got the parts 'test'"),
        ({}, "got the parts none"),
        ({"train": Part(X, Y), "best": Part(X, Y)}, "unknown part 'best'"),
        ({"train": Part(X, Y), "test": Part(X[:, :2], Y)}, "train has shape"),
        (
            {"train": Part((255 * X).astype(np.uint8), Y), "test": Part(X, Y)},
            "one type, got train torch.uint8, test torch.float64",
        ),
        ({"train": Part(X, Y), "test": Part(X, Y + 1)}, "it, test: the label 3 is on no sample"),
        ({"train": Part(X, Y), "test": Dataset("it", X, Y, 3)}, "all parts as a Dataset"),
    ],
)
def test_what_cannot_be_trained_on_is_said(parts, message):
    with pytest.raises(DataError, match=message) as caught:
        to_splits("it", parts)
    assert str(caught.value).startswith("it")
