from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset

from narrows.data import Dataset, as_dataset, as_splits, load
from narrows.data.objects import keyed
from narrows.errors import DataError

X = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3
TENSORS = TensorDataset(X, Y)


class Photos:
    """Shaped like a data set of torchvision: images of Pillow, and names of its classes."""

    classes = ("cat", "dog", "emu")

    def __len__(self):
        return 60

    def __getitem__(self, i):
        if i >= 60:
            raise IndexError
        return Image.fromarray(np.full((5, 6, 3), i, np.uint8)), i % 3


class Rows:
    """Shaped like a data set of Hugging Face: columns, and features that name the classes."""

    column_names = ("image", "label", "id")

    def __init__(self):
        self.features = {"label": SimpleNamespace(names=["cat", "dog", "emu"])}

    def __iter__(self):
        for image, label in (Photos()[i] for i in range(60)):
            yield {"image": image, "label": label, "id": 0}


SOURCES = {
    "pair": (X.numpy(), Y.numpy()),
    "lists": (X.tolist(), Y.tolist()),
    "dict": {"X": X, "y": Y},
    "bunch": {"data": X, "target": Y, "DESCR": "text", "target_names": ["a", "b", "c"]},
    "savez": {"arr_0": X, "arr_1": Y},
    "tensors": TENSORS,
    "subset": Subset(TENSORS, range(60)),
    "loader": DataLoader(TENSORS, batch_size=7),
    "shuffled": DataLoader(TENSORS, batch_size=7, shuffle=True, drop_last=True),
    "generator": [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)],
    "dataset": Dataset("other", X, Y, 3),
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_object_gives_the_same_samples_in_the_same_order(name):
    source = iter(SOURCES[name]) if name == "generator" else SOURCES[name]
    made = as_dataset(source, "it")
    assert torch.equal(made.x, X)
    assert torch.equal(made.y, Y)
    assert (made.name, made.classes) == ("it", 3)


@pytest.mark.parametrize("source", [Photos(), Rows(), Subset(Photos(), range(60))])
def test_images_of_pillow(source):
    made = as_dataset(source)
    assert (made.shape, made.x.dtype) == ((3, 5, 6), torch.uint8)
    assert made.class_names == ("cat", "dog", "emu")
    assert made.x[:, 0, 0, 0].tolist() == list(range(60))


def test_grey_images_of_pillow_among_coloured_ones():
    colours = [Photos()[i] for i in range(20)]
    greys = [(image.convert("L"), label) for image, label in colours]
    made = as_dataset(iter([*colours, *greys]))
    assert torch.equal(made.x[20:], made.x[:20])
    assert made.notes[0] == "images of the mode L are converted to RGB"


def test_a_picture_of_sixteen_bits_is_named():
    samples = [*((Photos()[i]) for i in range(3)), (Image.fromarray(np.zeros((5, 6), "u2")), 0)]
    with pytest.raises(DataError, match="it: sample 3 holds I;16 pixels; convert it to 8 bits"):
        as_dataset(iter(samples), "it")


@pytest.mark.parametrize(
    "source",
    [
        {"x_train": X, "y_train": Y, "x_test": X[:9], "y_test": Y[:9]},
        {"train_images": X, "train_labels": Y, "test_images": X[:9], "test_labels": Y[:9]},
        {"train": TENSORS, "test": Subset(TENSORS, range(9))},
        (TENSORS, Subset(TENSORS, range(9))),
        ((X, Y), (X[:9], Y[:9])),
        {"train": {"x": X, "y": Y}, "testing": (X[:9], Y[:9])},
    ],
)
def test_parts_are_taken_and_the_missing_one_is_made(source):
    made = as_splits(source)
    assert [len(part) for part in made] == [48, 12, 9]


def test_three_parts_and_splits_are_taken():
    parts = ((X, Y), (X[:6], Y[:6]), (X[:9], Y[:9]))
    assert [len(part) for part in as_splits(parts)] == [60, 6, 9]
    digits = load("digits")
    made = as_splits(digits, "mine")
    assert torch.equal(made.test.x, digits.test.x)
    assert made.train.name == "mine"


def test_keys_that_say_nothing_are_left_out():
    assert keyed(["x", "feature_names", "frame", "train_test", "test_images_raw"]) == {
        "x": ("", "x")
    }


def test_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    made = as_splits(datasets.load_wine(), "wine")
    assert (made.train.shape, made.train.classes, made.train.image) == ((13,), 3, False)
    assert made.train.class_names == ("class_0", "class_1", "class_2")
    assert [len(part) for part in made] == [114, 28, 36]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "got int"),
        ("digits", "got str"),
        ({"a": X, "b": Y}, "got a, b"),
        ({}, "got nothing"),
        ({"x": X}, "has inputs of all samples and no labels; name them y$"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "labels of test and no inputs"),
        ((X, Y, X, Y), "got 4 things"),
        ((X, Y, Y), "got 3 things"),
        ([1, 2, 3], "sample 0 is no pair|got int"),
        (TensorDataset(X), "sample 0 is no pair"),
        ([(X[0], 0), (X[0, :2], 1)] * 3, "got 6 things"),
        (iter([(X[0], 0), (X[0, :2], 1)]), r"sample 1 is \[2\] and sample 0 is \[4\]"),
        (iter([]), "holds no samples"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), "holds no samples"),
    ],
)
def test_another_object_is_refused_in_a_sentence(source, message):
    with pytest.raises(DataError, match=message):
        as_splits(source, "it")


def test_one_set_is_not_several():
    with pytest.raises(DataError, match="holds the parts train, test"):
        as_dataset(((X, Y), (X, Y)))
