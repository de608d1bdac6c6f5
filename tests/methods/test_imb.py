"""What JointIMB and GreedyIMB share."""

import pytest
import torch

from narrows import GreedyIMB, JointIMB
from narrows.errors import ConfigError, InputError
from narrows.methods import Sizes
from narrows.methods._imb import check_tree, compression_of, vcr_of
from narrows.types import ModelOutput

BOTH = pytest.mark.parametrize("kind", [JointIMB, GreedyIMB])


@pytest.mark.parametrize(("samples", "chunk"), [(0, None), (1, 0), (-1, 4)])
def test_trees_of_less_than_one_draw_or_input_are_refused(samples, chunk):
    with pytest.raises(ConfigError, match=r"(samples|chunk) of Foo must be at least 1, got"):
        check_tree("Foo", samples, chunk)


@BOTH
def test_priors_have_the_widths_of_the_network_and_start_at_one_half(kind):
    method = kind.build(0.1, Sizes(inputs=4, latent=2, classes=2, hidden=(5, 2)))
    assert [len(odds) for odds in method.log_odds] == [5, 2]
    assert all((odds.sigmoid() == 0.5).all() for odds in method.log_odds)
    assert all(odds.requires_grad for odds in method.log_odds)


@BOTH
@pytest.mark.parametrize("hidden", [[], [3, 0]])
def test_widths_must_be_positive(kind, hidden):
    with pytest.raises(ConfigError, match="needs the widths of the network's stochastic layers"):
        kind(0.1, hidden)


@pytest.mark.parametrize("read", [vcr_of, compression_of])
def test_an_output_without_a_tree_is_refused(read):
    with pytest.raises(InputError, match="observe the model through the method"):
        read(ModelOutput(torch.zeros(2, 2)), 1)
