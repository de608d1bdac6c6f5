import pytest
import torch
from torch import nn

from narrows.attacks import PGD, Adaptive, Features, Heads, Rate, TrainingLoss
from narrows.errors import ConfigError, InputError
from narrows.methods import IBRAR, VIB
from narrows.models import Bottleneck, tap
from scenarios_attacks import Counting, curved_case, linear_case


def gaussian_case(count: int = 60, scale: float = 3.0):
    """A bottleneck that is stochastic, its images, and what its mean says of them."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = Bottleneck(nn.Linear(8, 8), nn.Linear(4, 3), latent="gaussian")
        x = torch.rand(count, 8)
    model.encoder.weight.data *= scale
    model.encoder.bias.data[4:] += 5  # noise that matters
    model.mode = "mean"
    with torch.no_grad():
        y = model(x).logits.argmax(1)
    model.mode = "sample"
    return model, x, y


def test_equals_pgd_where_the_objective_does():
    model, x, y = curved_case()
    ours = Adaptive(eps=0.1, steps=10, restarts=1)(model, x, y)
    plain = PGD(eps=0.1, steps=10, restarts=1)(model, x, y)
    assert torch.equal(ours.success, plain.success)
    torch.testing.assert_close(ours.x_adv[ours.success], plain.x_adv[ours.success])
    assert (ours.forwards, ours.backwards) == (plain.forwards, plain.backwards)


def test_a_scalar_keeps_its_batch_together_and_says_the_same_here():
    seen = []

    def mean(model, x, y):
        seen.append(len(x))
        return nn.functional.cross_entropy(model(x), y)

    model, x, y = linear_case(2)
    counted = Counting(model)
    result = Adaptive(eps=0.02, steps=10, restarts=1, objective=mean)(counted, x, y)
    plain = PGD(eps=0.02, steps=10, restarts=1)(model, x, y)
    assert torch.equal(result.success, plain.success)
    assert seen == [len(x)] * 10
    assert (result.forwards, result.backwards) == (counted.forwards, counted.backwards)


def test_ascends_a_method_s_whole_training_loss():
    model, x, y = gaussian_case()
    method = VIB(beta=0.1)
    result = Adaptive(eps=0.1, steps=10, restarts=1, objective=method, draws=2)(model, x, y)
    torch.manual_seed(0)
    with torch.no_grad():
        before, after = (
            torch.stack([method(model, images, y) for _ in range(50)]).mean()
            for images in (x, result.x_adv)
        )
    assert after > before + 0.1
    assert all(parameter.grad is None for parameter in model.parameters())


def textbook(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """nHSIC of two kernels by inverses, eps = 1e-3."""
    m = len(values)
    h = torch.eye(m, dtype=torch.float64) - 1 / m
    ridge = 1e-3 * m * torch.eye(m, dtype=torch.float64)
    first, second = (h @ k @ h @ torch.linalg.inv(h @ k @ h + ridge) for k in (values, other))
    return torch.trace(first @ second)


def gaussian(values: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(torch.cdist(values, values) ** 2) / (2 * 25 * values.shape[1]))


def test_the_regulariser_of_a_training_loss_sees_the_clean_images():
    generator = torch.Generator().manual_seed(0)
    x, moved = torch.rand(2, 12, 4, generator=generator, dtype=torch.float64)
    y = torch.arange(12) % 2
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    method = IBRAR(0.3, eps=1e-3).double()
    hidden, one_hot = torch.tanh(model[0](moved)), torch.eye(2, dtype=torch.float64)[y]
    slow = nn.functional.cross_entropy(model(moved), y)
    slow = slow - 3.0 * textbook(gaussian(one_hot), gaussian(hidden))
    of_clean, of_moved = (slow + 0.3 * textbook(gaussian(v), gaussian(hidden)) for v in (x, moved))
    objective = TrainingLoss(method)
    torch.testing.assert_close(objective(model, moved, y, x), of_clean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(objective(model, moved, y), of_moved, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(method(model, moved, y), of_moved, rtol=1e-6, atol=1e-8)

    seen = []

    class Watched(IBRAR):
        def terms(self, output, batch):
            seen.append(batch.x)
            return super().terms(output, batch)

    attack = Adaptive(eps=0.1, steps=3, restarts=2, objective=TrainingLoss(Watched(0.3).double()))
    result = attack(model, x, model(x).argmax(1))
    assert all((images.unsqueeze(1) == x).all(-1).any(1).all() for images in seen)
    assert not torch.equal(result.x_adv, x)


def test_rate_is_added_in_nats_and_attacks():
    model, x, y = gaussian_case()
    model.mode = "mean"
    mean, scale = model(x).latent.mean, model(x).latent.scale
    rate = (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(1) / 2
    entropy = nn.functional.cross_entropy(model(x).logits, y, reduction="none")
    torch.testing.assert_close(Rate(2.0)(model, x, y), entropy + 2 * rate)
    attack = Adaptive(eps=0.3, steps=10, restarts=1, objective="rate")
    assert attack(model, x, y).success.any()


def test_mean_mode_follows_the_mean_and_is_judged_on_samples():
    model, x, y = gaussian_case()
    modes = []

    def watched(model, x, y):
        modes.append(model.mode)
        return nn.functional.cross_entropy(model(x).logits, y, reduction="none")

    result = Adaptive(eps=0.1, steps=5, restarts=1, mode="mean", objective=watched)(model, x, y)
    assert modes == ["mean"] * 5
    assert model.mode == "sample"
    assert ((result.fooled_rate > 0) & (result.fooled_rate < 1)).any()


def test_features_move_to_another_class():
    model, x, y = gaussian_case(100)
    model.mode = "mean"
    objective = Features(model, x, y)
    assert (objective(model, x, y) < 0).all()
    result = Adaptive(eps=0.3, steps=20, restarts=2, objective=objective)(model, x, y)
    assert result.success.double().mean() > 0.5
    present = y.unique()
    target = present[(torch.searchsorted(present, y) + 1) % len(present)]
    toward = Adaptive(eps=0.5, steps=20, restarts=2, objective=objective)(model, x, y, target)
    assert toward.success.double().mean() > 0.4
    with pytest.raises(InputError, match="every attacked class"):
        Features(model, x[y == 0], y[y == 0])(model, x, y)


def test_heads_add_up_and_a_missing_layer_is_named():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    head, model = nn.Linear(5, 3), tap(net, ["1"])
    x, y = torch.rand(6, 4), torch.arange(6) % 3
    entropy = nn.CrossEntropyLoss(reduction="none")
    expected = entropy(net(x), y) + entropy(head(net[1](net[0](x))), y)
    torch.testing.assert_close(Heads({"1": head})(model, x, y), expected)
    with pytest.raises(ConfigError, match="unknown activation '0'"):
        Heads({"0": head})(model, x, y)


def test_refuses_models_and_objectives_that_mean_nothing():
    model, x, y = linear_case(2)
    for objective, says in (
        (Rate(), "needs a model with a latent"),
        (lambda model, x, y: model(x), "returns a scalar or"),
        (lambda model, x, y: model(x).detach().sum(), "without a gradient"),
    ):
        with pytest.raises(InputError, match=says):
            Adaptive(eps=0.1, objective=objective)(model, x, y)
    for wrong, says in (
        ({"objective": "ratee"}, "did you mean 'rate'"),
        ({"mode": "median"}, "mode must be"),
        ({"steps": 0}, "steps must be"),
        ({"step_size": -1.0}, "step_size must be"),
    ):
        with pytest.raises(ConfigError, match=says):
            Adaptive(eps=0.1, **wrong)
