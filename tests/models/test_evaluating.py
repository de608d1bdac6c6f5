from contextlib import suppress

import pytest
import torch
from torch import nn

from narrows.models.evaluating import evaluating


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_dropout_is_off_and_running_statistics_stay_inside_the_block():
    model, x = net(), torch.rand(8, 3)
    before = {name: value.clone() for name, value in model.named_buffers()}
    with evaluating(model):
        assert torch.equal(model(x), model(x))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert model.training


def test_each_layer_gets_its_own_mode_back_even_after_an_error():
    model = net()
    model[1].eval()
    with suppress(ValueError), evaluating(model):
        assert not model[2].training
        raise ValueError
    assert [layer.training for layer in model] == [True, False, True, True]
    assert model.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_frozen_script_has_no_mode_and_runs_as_it_is():
    model = torch.jit.freeze(torch.jit.script(nn.Linear(3, 2).eval()))
    with evaluating(model):
        assert model(torch.rand(1, 3)).shape == (1, 2)
