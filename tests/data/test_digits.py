import torch
from sklearn.datasets import load_digits as reference

from narrows.data import load_digits


def joined():
    return [torch.cat(parts) for parts in zip(*((d.x, d.y) for d in load_digits()), strict=True)]


def test_the_same_images_and_labels_as_scikit_learn():
    x, y = joined()
    ours = torch.cat([16 * x.flatten(1), y[:, None].float()], 1).tolist()
    data, target = reference(return_X_y=True)
    assert sorted(ours) == sorted([*row, label] for row, label in zip(data, target, strict=True))


def test_images_lie_in_the_unit_interval_and_use_all_of_it():
    x, _ = joined()
    assert x.dtype == torch.float32
    assert x.aminmax() == (0, 1)


def test_every_class_is_split_60_20_20():
    splits = load_digits()
    assert [len(part) for part in splits] == [1079, 359, 359]
    counts = torch.stack([part.y.bincount() for part in splits])
    expected = torch.tensor([[0.6], [0.2], [0.2]]) * counts.sum(0)
    assert (counts - expected).abs().max() <= 1


def test_the_split_never_changes():
    # A change would make every published number on the digits incomparable.
    assert load_digits().test.y[:12].tolist() == [1, 2, 6, 0, 3, 6, 2, 5, 9, 9, 8, 1]
