import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import tap
from narrows.models.layers import hooked, layer_of, unwrapped

X = torch.rand(5, 4)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "parallel": nn.DataParallel,
    "both": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
}


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("name", ["1", "module.1", "_orig_mod.1", "module._orig_mod.1"])
def test_a_layer_is_found_through_what_is_around_the_model(wrap, name):
    torch.compiler.reset()
    model = net()
    around = WRAPPERS[wrap](model)
    assert unwrapped(around) is model
    assert layer_of(around, name) is model[1]
    around(X)  # compiled before it has a hook
    for x in (X, -X):
        torch.testing.assert_close(tap(around, [name])(x).activations[name], model[:2](x))
    torch.testing.assert_close(around(X), model(X))


def test_a_model_may_have_layers_of_these_names_itself():
    model = nn.ModuleDict({"module": nn.ModuleDict({"1": nn.Linear(2, 2)}), "1": nn.ReLU()})
    assert layer_of(model, "module.1") is model["module"]["1"]
    assert layer_of(model, "1") is model["1"]


def test_an_unknown_layer_is_answered_with_the_nearest_of_the_users_own():
    with pytest.raises(ConfigError, match="no layer '7' to read; nearest: 0, 1, 2"):
        layer_of(nn.DataParallel(net()), "7", " to read")


def test_hooks_are_removed_when_something_fails():
    model = net()
    with pytest.raises(ZeroDivisionError), hooked(model, {"1": lambda *_: None}):
        raise ZeroDivisionError
    assert not model[1]._forward_hooks
