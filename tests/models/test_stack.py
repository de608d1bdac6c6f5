import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import NetworkConfig, as_classifier, build_network
from narrows.models.stack import ModelStack, models_at_once, stack_models

X = torch.rand(6, 1, 8, 8, dtype=torch.float64)


def networks(count=4, latent="gaussian", **changes):
    config = NetworkConfig(**{"encoder": [8], "bottleneck": 3, "decoder": [5]} | changes)
    return [build_network(config, (1, 8, 8), 10, latent).double() for _ in range(count)]


def test_the_logits_of_a_stack_are_those_of_its_models():
    models = [as_classifier(model, mode="mean") for model in networks()]
    stack = ModelStack(models)
    together = stack.logits(X, shared=True)
    each = torch.stack([X + index for index in range(4)])
    own = stack.logits(each[[1, 3]], [1, 3])
    with torch.no_grad():
        for index, model in enumerate(models):
            torch.testing.assert_close(together[index], model(X))
        torch.testing.assert_close(own[1], models[3](each[3]))
    assert len(stack) == 4


def test_models_in_a_stack_draw_what_the_first_would_draw_alone():
    models = [as_classifier(model, samples=5) for model in networks()]
    stack = stack_models(models, X)
    assert stack is not None
    with torch.no_grad():
        torch.manual_seed(0)
        together = stack.logits(X, shared=True)
        for logits, model in zip(together, models, strict=True):
            torch.manual_seed(0)
            torch.testing.assert_close(logits, model(X))


def test_running_statistics_are_no_obstacle_to_a_stack():
    models = [
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 10))
        for _ in range(3)
    ]
    with torch.no_grad():
        for model in models:
            model.double()(X)  # moves its statistics
            model.eval()
        stack = stack_models(models, X)
        assert stack is not None
        torch.testing.assert_close(stack.logits(X, shared=True)[2], models[2](X))


def test_what_cannot_be_stacked():
    with pytest.raises(ConfigError, match="members 0 and 4 differ in"):
        ModelStack([*networks(4), *networks(1, encoder=[9])])
    with pytest.raises(ConfigError, match="at least one"):
        ModelStack([])
    assert stack_models([*networks(4), *networks(1, bottleneck=2)], X) is None
    assert stack_models([Branch(), Branch()], X) is None


class Branch(nn.Module):
    def forward(self, x):
        return x.flatten(1) if bool(x.sum() > 0) else -x.flatten(1)


def test_fewer_models_run_together_the_larger_they_are():
    narrow, wide = networks(1)[0], networks(1, encoder=[1000])[0]
    assert models_at_once(narrow, X) > 10 * models_at_once(wide, X) > 0
    assert models_at_once(wide, X.repeat(2000, 1, 1, 1)) == 1
