"""The channel mask of IB-RAR, eq. 3; the loss itself is tested in `test_ib_rar.py`."""

import pytest
import torch
from torch import nn

from narrows import IBRAR, MART, TRADES, PGDTraining, tap
from narrows.data import Dataset
from narrows.errors import ConfigError, InputError
from narrows.methods._mask import (
    Masked,
    channel_mask,
    channel_scores,
    find_layer,
    label_root,
    masking,
)
from narrows.models.vgg import VGG16
from narrows.training import Objective, Solo, Stacked, TrainConfig, Trainer
from narrows.types import Batch

EPS = 1e-3


def net(channels=24) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = [nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Conv2d(3, channels, 3), nn.Tanh()]
        return nn.Sequential(*first, nn.Flatten(), nn.Linear(4 * channels, 3)).double()


def batch(n=30) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 1, 6, 6, generator=generator, dtype=torch.float64)
    return Batch(x, torch.arange(n) % 3)


def textbook(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """tr(K~ L~) of two kernels, by inverses."""
    m = len(values)
    h = torch.eye(m, dtype=torch.float64) - 1 / m
    ridge = EPS * m * torch.eye(m, dtype=torch.float64)
    first, second = (h @ k @ h @ torch.linalg.inv(h @ k @ h + ridge) for k in (values, other))
    return torch.trace(first @ second)


def gaussian(values: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(torch.cdist(values, values) ** 2) / (2 * 25 * values.shape[1]))


def slow_scores(features: torch.Tensor, of_y: torch.Tensor) -> torch.Tensor:
    """Channel by channel: dependence on what that kernel is of."""
    kernels = [gaussian(features[:, c].flatten(1)) for c in range(features.shape[1])]
    return torch.stack([textbook(kernel, of_y) for kernel in kernels])


def linear_labels(data: Batch) -> torch.Tensor:
    one_hot = torch.eye(3, dtype=torch.float64)[data.y]
    return one_hot @ one_hot.T


def slow_mask(features: torch.Tensor, data: Batch, kind: str, count: int = 10) -> torch.Tensor:
    if kind == "paper":
        of_y = slow_scores(features, linear_labels(data))
        return of_y >= of_y.quantile(0.05)
    # The rule of the code: rank all channels but the last, drop the ends of two rankings.
    of_y = slow_scores(features, gaussian(torch.eye(3, dtype=torch.float64)[data.y]))
    of_x = slow_scores(features, gaussian(data.x.flatten(1)))
    scored = features.shape[1] - 1
    count = min(count, scored // 4)
    kept = torch.ones(scored + 1, dtype=torch.bool)
    kept[sorted(range(scored), key=lambda c: of_y[c])[:count]] = False
    kept[sorted(range(scored), key=lambda c: -of_x[c])[:count]] = False
    return kept


def hidden(model: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    return model[:4](x).detach()


@pytest.mark.parametrize("shape", [(), (2, 2)])
@pytest.mark.parametrize("m", [30, 300])  # the larger one takes several blocks
def test_all_channels_are_scored_as_one_by_one_with_textbook_matrices(shape, m):
    data = batch(m)
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(m, 5, *shape, generator=generator, dtype=torch.float64)
    features[:, 0] += data.y.view(-1, *[1] * len(shape))
    features[:, 4] = 0  # a dead one
    (scores,) = channel_scores(features, [label_root(data.y, EPS)], EPS)
    expected = slow_scores(features.reshape(m, 5, -1), linear_labels(data))
    torch.testing.assert_close(scores, expected, rtol=1e-8, atol=1e-10)
    assert scores.argmax() == 0
    assert scores[4].abs() < 1e-10


def test_single_precision_features_are_scored_in_double():
    data = batch(100)
    features = 10 + torch.randn(100, 3, 4, generator=torch.Generator().manual_seed(3)).double()
    single = features.float()
    of_single = channel_scores(single, [label_root(data.y, 1e-5)], 1e-5)
    of_double = channel_scores(single.double(), [label_root(data.y, 1e-5)], 1e-5)
    assert of_single.dtype == torch.float64
    assert torch.equal(of_single, of_double)


@pytest.mark.parametrize("kind", ["paper", "as_coded"])
@pytest.mark.parametrize("channels", [1, 2, 21, 24, 64])
def test_the_channels_that_go_are_those_of_the_slow_twin(kind, channels):
    model, data = net(channels), batch()
    features = hidden(model, data.x)
    mask = channel_mask(features, data, kind, EPS)
    assert torch.equal(mask, slow_mask(features, data, kind))
    assert mask.any()


def test_as_coded_ten_of_each_kind_go_and_the_last_channel_stays():
    data, generator = batch(), torch.Generator().manual_seed(4)
    features = torch.randn(30, 128, 2, 2, generator=generator, dtype=torch.float64)
    features[:, -1] = 0  # it depends on nothing
    mask = channel_mask(features, data, "as_coded", EPS)
    assert mask[-1]
    assert 108 <= mask.sum() < 128 - 10  # a channel may be of both kinds
    fewer = channel_mask(features, data, "as_coded", EPS, 3)
    assert 122 <= fewer.sum() <= 125
    assert torch.equal(fewer, slow_mask(features, data, "as_coded", 3))


def test_the_gaussian_kernel_of_labels_is_that_of_one_hot_vectors():
    data = batch()
    root = label_root(data.y, EPS, "gaussian")
    assert root.shape == (30, 3)
    kernel = gaussian(torch.eye(3, dtype=torch.float64)[data.y])
    h = torch.eye(30, dtype=torch.float64) - 1 / 30
    ridge = EPS * 30 * torch.eye(30, dtype=torch.float64)
    expected = h @ kernel @ h @ torch.linalg.inv(h @ kernel @ h + ridge)
    torch.testing.assert_close(root @ root.T, expected)


def pooled() -> nn.Sequential:
    """A network whose last convolution is followed by an activation and a pooling."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = [nn.Conv2d(1, 24, 3), nn.Tanh(), nn.MaxPool2d(2)]
        return nn.Sequential(*first, nn.Flatten(), nn.Linear(96, 3)).double()


def test_as_coded_the_mask_follows_the_pooling():
    model, data = pooled(), batch()
    method = IBRAR.as_coded(mask=True).double()
    masked = method.masked(model, *data)
    assert masked.layer == "2"
    features = model[:3](data.x).detach()
    expected = slow_mask(features, data, "as_coded")
    chosen = IBRAR(0.008, eps=EPS, mask="as_coded").double().masked(model, *data)
    assert torch.equal(chosen.mask, expected)
    by_hand = model[4]((features * expected.view(1, -1, 1, 1)).flatten(1))
    torch.testing.assert_close(chosen(data.x), by_hand)
    assert IBRAR(0.1, mask="paper").double().masked(model, *data).layer == "1"


def test_the_pooling_of_vgg16_is_its_fifth_block():
    with torch.device("meta"):
        model = VGG16((3, 32, 32), 10, width=1 / 16)
    assert find_layer(model, None, pooled=True) == ("block5", model.get_submodule("block5"))
    assert find_layer(model, None)[0] == "features.42"
    shared = nn.MaxPool2d(2)
    twice = nn.Sequential(nn.Conv2d(1, 2, 3), shared, nn.Conv2d(2, 2, 3), nn.ReLU(), shared)
    assert find_layer(twice, None, pooled=True)[0] == "3"
    assert find_layer(net(), None, pooled=True)[0] == "3"


def test_the_loss_is_that_of_the_network_with_its_channels_zeroed():
    model, data = net(), batch()
    method = IBRAR(0.02, 5.0, eps=EPS, mask="paper").double()
    loss = method(model, *data)
    mask = slow_mask(hidden(model, data.x), data, "paper").double()
    assert 0 < (mask == 0).sum() < 3
    first = torch.tanh(model[0](data.x))
    last = torch.tanh(model[2](first)) * mask.view(1, -1, 1, 1)
    one_hot = gaussian(torch.eye(3, dtype=torch.float64)[data.y])
    slow = nn.functional.cross_entropy(model[5](last.flatten(1)), data.y)
    for layer in (first, last):
        slow = slow + 0.02 * textbook(gaussian(data.x.flatten(1)), gaussian(layer.flatten(1)))
        slow = slow - 0.1 * textbook(one_hot, gaussian(layer.flatten(1)))
    torch.testing.assert_close(loss, slow, rtol=1e-6, atol=1e-8)
    parameters = list(model.parameters())
    for own, by_hand in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(slow, parameters), strict=True
    ):
        torch.testing.assert_close(own, by_hand, rtol=1e-5, atol=1e-8)


def logits_over_steps(method, model, data, steps):
    found = []
    for _ in range(steps):
        output = method.observe(model, data)
        method.terms(output, data)
        found.append(not torch.equal(output.logits, model(data.x)))
    return found


def test_as_coded_only_every_tenth_batch_is_masked_and_the_count_is_saved():
    model, data = net(), batch()
    method = IBRAR.as_coded(mask=True).double()
    assert logits_over_steps(method, model, data, 15) == [False] * 10 + [True] + [False] * 4
    resumed = IBRAR.as_coded(mask=True).double()
    resumed.load_state_dict(method.state_dict())
    assert logits_over_steps(resumed, model, data, 6) == [False] * 5 + [True]
    assert all(logits_over_steps(IBRAR(0.1, mask="paper").double(), model, data, 3))


def test_nothing_is_masked_at_evaluation_and_no_hook_stays():
    model, data = net(), batch()
    method = IBRAR(0.1, mask="paper").double()
    model.eval()
    assert torch.equal(method.observe(model, data).logits, model(data.x))
    model.train()
    with pytest.raises(RuntimeError):
        method(model, data.x[:, :, :3], data.y)
    assert not any(module._forward_hooks for module in model.modules())


def test_masked_keeps_at_evaluation_what_a_labelled_batch_leaves():
    model, data = net(), batch()
    masked = IBRAR(0.1, eps=EPS, mask="paper").masked(model, *data)
    expected = slow_mask(hidden(model, data.x), data, "paper")
    assert torch.equal(masked.mask, expected)
    assert masked.layer == "3"
    other = batch(50).x[30:]
    by_hand = model[5]((hidden(model, other) * expected.view(1, -1, 1, 1)).flatten(1))
    assert torch.equal(masked.eval()(other), by_hand)
    assert model.training is False  # one module, shared
    fresh = Masked(net(), "3", torch.ones(24, dtype=torch.bool))
    fresh.load_state_dict(masked.state_dict())
    assert torch.equal(fresh(other), by_hand)
    assert "layer='3', dropped=2 of 24" in repr(fresh)


def test_the_layer_is_the_last_convolution_with_what_belongs_to_it():
    norm = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Linear(2, 3))
    assert find_layer(norm, None)[0] == "2"
    assert find_layer(tap(norm, []), None)[0] == "model.2"
    assert find_layer(norm, "0") == ("0", norm[0])
    with pytest.raises(ConfigError, match="no layer '9' to mask"):
        IBRAR(0.1, mask="paper", mask_layer="9").double()(net(), *batch())
    dense = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 3)).double()
    with pytest.raises(InputError, match=r"no convolution.*name a layer with mask_layer"):
        IBRAR(0.1, mask="paper").double()(dense, *batch())
    units = IBRAR(0.1, mask="paper", mask_layer="2").double()
    assert (units.observe(dense, batch()).activations["2"] == 0).all(0).sum() >= 2


@pytest.mark.parametrize("kind", ["paper", "as_coded"])
@pytest.mark.parametrize("wrapper", [PGDTraining, TRADES, MART])
def test_adversarial_training_wraps_it_and_counts_a_batch_once(wrapper, kind):
    torch.manual_seed(0)
    model, data = net(), batch()
    method = wrapper(IBRAR(0.008, 10.0, mask=kind), eps=0.1, steps=2).double()
    if kind == "as_coded":
        method.method.batches.fill_(10)
    dropped = []

    def count(features):
        dropped.append(int((features == 0).all(0).sum()))
        return torch.ones(96)

    with masking(model[4], count):  # of 24 channels with 4 pixels, flattened
        method(model, *data).backward()
    *attack, adversarial, clean = dropped
    assert max(attack) < min(adversarial, clean)  # the inner attack sees the model without the mask
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    if kind == "as_coded":
        assert method.method.batches == 11
    known = {kind.__name__: kind for kind in (IBRAR, PGDTraining, TRADES, MART)}
    assert repr(eval(repr(method), known)) == repr(method)


class InFloat64(Dataset):
    def batch(self, rows):
        x, y = super().batch(rows)
        return Batch(x.double(), y)


@pytest.mark.parametrize("kind", ["paper", "as_coded"])
def test_a_stack_masks_each_member_as_it_would_alone(kind):
    n = 220 if kind == "as_coded" else 60
    data = InFloat64("noise", torch.rand(n, 1, 6, 6), torch.arange(n) % 3, 3)
    config = TrainConfig(epochs=1, batch_size=20, learning_rate=0.01)

    def make(beta):
        return Objective(net(), IBRAR(beta, 10.0, eps=EPS, mask=kind).double())

    betas, seeds = (0.01, 0.1), (0, 1)
    stacked = Trainer(Stacked([make(beta) for beta in betas], seeds), data, data, config)
    stacked.run_epoch()
    together = stacked.members.named_tensors()
    for index, (beta, seed) in enumerate(zip(betas, seeds, strict=True)):
        solo = Trainer(Solo(make(beta), seed), data, data, config)
        solo.run_epoch()
        for label, alone in solo.members.named_tensors().items():
            torch.testing.assert_close(together[label][index], alone[0], rtol=1e-7, atol=1e-9)


def test_presets_and_what_there_is_not():
    assert IBRAR.paper("vgg16", mask=True).mask == "paper"
    assert IBRAR.as_coded(mask=True, mask_layer="3").mask_layer == "3"
    assert IBRAR.as_coded().mask is None
    assert set(IBRAR.as_coded().state_dict()) == {"beta"}
    with pytest.raises(ConfigError, match="mask_channels must be at least 1, got 0"):
        IBRAR(0.1, mask="as_coded", mask_channels=0)
    with pytest.raises(ConfigError, match="unknown mask 'coded'; did you mean 'as_coded'"):
        IBRAR(0.1, mask="coded")
    with pytest.raises(ConfigError, match="mask_layer='3' needs a mask"):
        IBRAR(0.1, mask_layer="3")
    with pytest.raises(InputError, match=r"needs features \[30, channels, ...\], got \[60, 5\]"):
        channel_mask(torch.rand(60, 5), batch(), "paper", EPS)
    lstm = nn.LSTM(4, 3)
    with (
        pytest.raises(InputError, match=r"where it returns \[batch, channels"),
        masking(lstm, torch.ones_like),
    ):
        lstm(torch.rand(2, 4))
