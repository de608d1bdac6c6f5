import pytest
import torch
from torch import nn

from narrows.errors import ConfigError, InputError
from narrows.models import tap

X = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))


def make() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        return nn.Sequential(hidden, nn.Linear(3, 2))


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_layers_are_read_and_the_logits_are_the_models_own():
    model = make()
    output = tap(model, ["0.0", "0"])(X)
    assert list(output.activations) == ["0.0", "0"]
    assert torch.equal(output.activations["0.0"], model[0][0](X))
    assert torch.equal(output.activations["0"], model[0](X))
    assert torch.equal(output.logits, model(X))
    assert output.latent is None


def test_a_layer_can_be_the_latent():
    model = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2, padding=1), nn.Flatten())
    output = tap(model, [], latent="1")(X)
    assert output.latent.z.shape == (5, 27)
    assert output.latent.z is output.latent.mean
    assert output.latent.scale is None
    assert dict(output.activations) == {}


def test_an_in_place_activation_does_not_change_what_was_read():
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.bias.fill_(-0.5)
    output = tap(nn.Sequential(linear, nn.ReLU(inplace=True)), ["0", "1"], latent="0")(X)
    assert torch.equal(output.activations["0"], linear(X))
    assert torch.equal(output.latent.z, linear(X))
    assert torch.equal(output.activations["1"], linear(X).relu())


def test_the_logits_can_be_differentiated_in_what_was_read():
    model = make()
    output = tap(model, ["0"])(X)
    (gradient,) = torch.autograd.grad(output.logits[:, 1].sum(), output.activations["0"])
    torch.testing.assert_close(gradient, model[1].weight[1].expand(5, 3))


def test_hooks_are_gone_after_the_call_and_after_an_exception():
    model = make()
    tapped = tap(model, ["0"], latent="0.1")
    tapped(X)
    assert hooks(model) == 0
    with pytest.raises(RuntimeError, match="shapes"):
        tapped(torch.rand(5, 9))
    assert hooks(model) == 0


def test_weights_are_shared_with_the_model():
    model = make()
    assert {id(p) for p in tap(model, []).parameters()} == {id(p) for p in model.parameters()}


def test_an_unknown_layer_is_answered_with_the_nearest():
    model = nn.ModuleDict({"encoder": nn.Linear(4, 3), "decoder": nn.Linear(3, 2)})
    with pytest.raises(ConfigError, match="no layer 'enoder'; nearest: encoder, decoder"):
        tap(model, ["enoder"])
    with pytest.raises(ConfigError, match="no layer 'fc'; nearest"):
        tap(model, [], latent="fc")


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 3, batch_first=True)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        return self.rnn(x.unsqueeze(1))[0].squeeze(1)


def test_a_layer_that_never_runs_or_returns_no_tensor_is_named():
    with pytest.raises(InputError, match="never runs its layer 'unused'"):
        tap(Odd(), ["unused"])(X)
    with pytest.raises(InputError, match="layer 'rnn' returns tuple"):
        tap(Odd(), [], latent="rnn")(X)


def test_its_repr_shows_what_is_read():
    assert "layers=('0',), latent='0.1'" in repr(tap(make(), ["0"], latent="0.1"))


def test_a_model_without_layers_says_so():
    with pytest.raises(ConfigError, match="has no layer '1'; it has no named layers at all"):
        tap(nn.Linear(2, 2), ["1"])
