"""Data sets of torchvision and Hugging Face as these libraries make them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

from narrows.data import as_dataset, as_splits, load
from scenarios_frameworks import framework

COUNT = 30
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3)).astype(np.uint8)
LABELS = [i % 3 for i in range(COUNT)]
NAMES = ["ant", "bee", "cat"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def expected(count=COUNT):
    return torch.from_numpy(PIXELS[:count].transpose(0, 3, 1, 2).copy())


def rows(library, count=COUNT):
    features = library.Features(image=library.Image(), label=library.ClassLabel(names=NAMES))
    images = [Image.fromarray(pixels) for pixels in PIXELS[:count]]
    return library.Dataset.from_dict({"image": images, "label": LABELS[:count]}, features=features)


def test_a_data_set_of_hugging_face():
    made = as_dataset(rows(framework("datasets")))
    assert torch.equal(made.x, expected())
    assert (made.y.tolist(), made.class_names) == (LABELS, tuple(NAMES))


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_a_data_set_of_hugging_face_in_another_format(kind):
    made = as_dataset(rows(framework("datasets")).with_format(kind))
    assert torch.equal(made.x.reshape(COUNT, -1).sort(1)[0], expected().flatten(1).sort(1)[0])
    assert made.y.tolist() == LABELS


def test_parts_of_hugging_face():
    library = framework("datasets")
    parts = library.DatasetDict(train=rows(library), test=rows(library, 9))
    made = as_splits(parts)
    assert torch.equal(made.test.x, expected(9))
    assert len(made.train) + len(made.validation) == COUNT


def folders(home):
    for i, pixels in enumerate(PIXELS):
        path = home / NAMES[i % 3] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return home


def test_a_folder_is_read_as_torchvision_reads_it(tmp_path):
    theirs = framework("torchvision").datasets.ImageFolder(folders(tmp_path / "photos"))
    ours, same = load(str(tmp_path / "photos")), as_splits(theirs, "photos")
    for one, other in zip(ours, same, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert one.class_names == other.class_names == tuple(NAMES)


def test_data_of_torchvision_with_a_transform_and_in_a_loader():
    vision = framework("torchvision")
    fake = vision.datasets.FakeData(20, (3, 6, 5), 4, vision.transforms.ToTensor())
    whole, loader = as_dataset(fake), DataLoader(Subset(fake, range(9)), batch_size=4, shuffle=True)
    assert (whole.shape, whole.image, whole.x.max() <= 1) == ((3, 6, 5), True, True)
    assert torch.equal(as_dataset(loader).x, whole.x[:9])
