import pytest
import torch
from torch import nn

from narrows.attacks.losses import margin
from narrows.attacks.query import Query, frozen, named_errors
from narrows.errors import ConfigError, InputError
from scenarios_attacks import NoisyInput, curved_case, linear_case


def test_frozen_restores_after_an_error():
    layer, dropout = nn.Linear(2, 2), nn.Dropout().eval()
    model = nn.Sequential(layer, dropout)
    layer.bias.requires_grad_(False)
    with pytest.raises(ZeroDivisionError), frozen(model):
        _ = 1 / (model.training or layer.weight.requires_grad)
    assert [module.training for module in model.modules()] == [True, True, False]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False]


@pytest.mark.parametrize("targeted", [False, True])
def test_gradient_is_that_of_the_objective(targeted):
    model, x, y = linear_case(4, dtype=torch.float64)
    query = Query(model, y, targeted=targeted)
    rows = torch.arange(50, 90)

    def lead(logits, labels):
        return logits.gather(1, labels[:, None]).squeeze(1) * 2

    value, gradient, logits = query.ascend(x[rows], rows, lead)
    sign = -1 if targeted else 1
    torch.testing.assert_close(gradient.flatten(1), sign * 2 * model.layer.weight[y[rows]].detach())
    torch.testing.assert_close(value, sign * lead(logits, y[rows]))
    assert query.fooled(logits, rows).all() == targeted


def test_gaps_are_leads_and_their_gradients():
    model, x, y = linear_case(4, dtype=torch.float64)
    query = Query(model, y)
    rivals = torch.stack([(y + 1) % 4, (y + 3) % 4], 1)
    weight, logits = model.layer.weight.detach(), model(x).detach()
    for k, (lead, gradient) in enumerate(query.gaps(x, y, rivals)):
        rival = rivals[:, k]
        torch.testing.assert_close(gradient.flatten(1), weight[rival] - weight[y])
        torch.testing.assert_close(
            lead, logits.gather(1, rival[:, None])[:, 0] - logits.gather(1, y[:, None])[:, 0]
        )
    assert (query.forwards, query.backwards) == (len(x), 2 * len(x))


def test_draws_are_averaged_in_probability():
    model, x, y = curved_case()
    noisy = NoisyInput(model.eval(), 0.5)
    with torch.no_grad():
        torch.manual_seed(3)
        averaged = Query(noisy, y, stochastic=True, draws=50).logits(x)
        torch.manual_seed(3)
        drawn = noisy(x.repeat(50, 1, 1, 1)).unflatten(0, (50, len(x)))
    torch.testing.assert_close(averaged.softmax(1), drawn.softmax(-1).mean(0))


def test_common_noise_is_the_same_at_every_look_and_fresh_in_verdicts():
    model, x, y = curved_case()
    noisy, rows = NoisyInput(model.eval(), 0.5), torch.arange(len(x))
    query = Query(noisy, y, stochastic=True, draws=2, verify_draws=2, common_noise=3)
    with torch.no_grad():
        torch.manual_seed(0)
        state = torch.get_rng_state()
        first = query.logits(x)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(1)
        assert torch.equal(query.logits(x), first)
        verdicts = [query.verdict(x, rows).logits for _ in range(2)]
    assert not torch.equal(*verdicts)


def test_a_verdict_of_a_deterministic_model_is_its_argmax():
    model, x, y = linear_case(4)
    y[::3] = (y[::3] + 1) % 4
    verdict = Query(model, y).verdict(x, torch.arange(len(x)))
    assert torch.equal(verdict.fooled, model(x).argmax(1) != y)
    assert torch.equal(verdict.fooled_rate, verdict.fooled.double())
    assert verdict.sure.all()


def test_only_some_of_the_images_are_counted_from_0():
    model, x, y = linear_case(4)
    query, rows = Query(model, y), torch.tensor([5, 9, 2])
    expected = query.verdict(x[rows], rows).fooled
    with query.only(rows):
        assert torch.equal(query.labels, y[rows])
        assert torch.equal(query.verdict(x[rows], torch.arange(3)).fooled, expected)
    assert torch.equal(query.labels, y)


def test_the_gradient_of_a_class_with_probability_0_is_0():
    class Masked(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum(1), -x.sum(1), -torch.inf * x.sum(1).abs()], 1)

    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 2])
    assert not Query(Masked(), y).ascend(x, torch.arange(2), margin).gradient.any()


def test_an_error_of_a_model_is_one_line_and_our_own_errors_pass():
    x = torch.zeros(3, 4)
    with (
        pytest.raises(InputError, match=r"images \[3, 4\] of torch.float32 on cpu") as caught,
        named_errors(x),
    ):
        raise ValueError("first line\nsecond line")
    assert "first line" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="out of memory on 3 images"), named_errors(x):
        raise MemoryError
    with pytest.raises(ConfigError, match=r"^ours$"), named_errors(x):
        raise ConfigError("ours")
