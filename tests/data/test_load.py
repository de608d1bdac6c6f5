import inspect

import pytest
import torch

from narrows.data import DATASETS, Splits, load
from narrows.errors import ConfigError

EMBEDDED = ["digits", "twelve-bit", "toy1", "toy2"]
PUBLISHED = ["mnist", "fashion-mnist", "cifar10", "cifar100", "svhn", "tiny-imagenet"]


def test_the_names_are_the_published_ones():
    assert set(DATASETS) == {*EMBEDDED, *PUBLISHED}


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_needs_no_file_loads_the_same_splits_every_time(name, tmp_path):
    splits, again = load(name), load(name, tmp_path)
    assert isinstance(splits, Splits)
    for first, second in zip(splits, again, strict=True):
        assert torch.equal(first.x, second.x)
        assert torch.equal(first.y, second.y)
        assert first.name == name
        assert set(first.y.tolist()) == set(range(first.classes))


@pytest.mark.parametrize("name", DATASETS)
def test_every_loader_takes_a_root_and_documents_itself(name):
    assert next(iter(inspect.signature(DATASETS[name]).parameters)) == "root"
    assert inspect.getdoc(DATASETS[name])


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown data set 'fashion_mnist'; did you mean 'fashi"):
        load("fashion_mnist")
