"""What no single method is about: the types of inputs, and losses that are not finite."""

import pytest
import torch
from torch import nn

from narrows import AIB, CEB, MART, TRADES, VIB, BetaVAE, CrossEntropy, HBaR, JointIMB, PGDTraining
from narrows.errors import ConfigError, DivergedError, InputError
from narrows.methods._entrance import _warn_of_range
from narrows.models import BinaryStochasticNet, Bottleneck

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def stochastic() -> Bottleneck:
    return Bottleneck(nn.Linear(6, 8), nn.Linear(4, 3), latent="gaussian")


def test_a_loss_that_is_not_finite_names_the_term_its_weight_and_the_inputs():
    message = r"loss of VIB is inf: its rate is .* weight of 1e\+38, on inputs from .*; lower the"
    with pytest.raises(DivergedError, match=message):
        VIB(1e38)(stochastic(), X, Y)
    with pytest.raises(DivergedError, match="divide 0-255 images by 255, or lower"):
        VIB(1e38)(stochastic(), X * 255, Y)
    model = nn.Linear(6, 3)
    nn.init.constant_(model.bias, torch.nan)
    with pytest.raises(DivergedError, match="loss of CrossEntropy is nan: its prediction loss is"):
        CrossEntropy()(model, X, Y)


@pytest.mark.parametrize("scale", [-1000.0, 0.001, 50.0, 1e4])
def test_data_that_are_no_images_are_trained_on_at_any_scale(scale):
    assert torch.isfinite(VIB(1e-3)(stochastic(), scale * torch.randn(8, 6), Y))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            X.double(),
            r"float32 and got inputs of float64: .*write x.to\(torch.float32\)$",
        ),
        ((X * 255).to(torch.uint8), r"got inputs of uint8: .*write x.to\(torch.float32\) / 255"),
    ],
)
def test_tensors_of_another_type_than_the_weights_are_told_what_to_become(x, message):
    with pytest.raises(InputError, match=message):
        CrossEntropy()(nn.Linear(6, 3), x, Y)


@pytest.mark.parametrize("method", [CrossEntropy(), VIB(0.1), PGDTraining(VIB(0.1), eps=0.1)])
def test_inference_mode_costs_inputs_nothing_and_a_model_its_gradient(method):
    with torch.inference_mode():
        x, y, useless = X.clone(), Y.clone(), stochastic()
    model = stochastic()
    method(model, x, y).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    with pytest.raises(InputError, match=r"made in inference mode.*copy.deepcopy\(model\)"):
        method(useless, X, Y)


def test_other_errors_of_a_model_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        CrossEntropy()(nn.Linear(5, 3), X, Y)


def test_whole_numbers_are_passed_on_to_a_model_that_takes_them():
    words = torch.randint(9, (8, 5))
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3))
    expected = nn.functional.cross_entropy(model(words), Y)
    torch.testing.assert_close(CrossEntropy()(model, words, Y), expected)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(6, 1), "one logit for each class, got a single one"),
        (nn.Unflatten(1, (2, 3)), r"logits \[8, classes\] for 8 inputs, got \[8, 2, 3\]"),
        (nn.LSTM(6, 3), "must return logits"),
    ],
)
def test_models_that_return_something_else_are_refused(model, message):
    with pytest.raises(InputError, match=message):
        CrossEntropy()(model, X, Y)


@pytest.mark.parametrize("wrapper", [PGDTraining, TRADES, MART])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"inputs must lie in \[0, 1\], got .*; divide 0-255 images by 255"),
        (lambda x: (x - 0.5) * 4, "make any normalisation part of the model"),
        (lambda x: (x * 255).to(torch.uint8), "divide 0-255 images by 255"),
        (lambda x: x + 2e-6, "inputs must lie in"),
    ],
)
def test_adversarial_training_outside_the_unit_interval_is_refused(wrapper, change, message):
    edge = torch.cat([X, torch.tensor([[0.0, 1.0, 0.5, 0, 1, 1]])])
    method, labels = wrapper(CrossEntropy(), eps=0.1, steps=2), torch.cat([Y, Y[:1]])
    assert torch.isfinite(method(nn.Linear(6, 3), edge, labels))
    with pytest.raises(InputError, match=message):
        method(nn.Linear(6, 3), change(edge), labels)


def test_pixels_that_stand_for_probabilities_must_be_some():
    model = Bottleneck(nn.Linear(6, 8), nn.Linear(4, 6), latent="gaussian")
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        BetaVAE(1.0)(model, X * 3)
    assert torch.isfinite(BetaVAE(1.0, "gaussian")(model, (X * 3).numpy()))


def test_the_steps_of_an_attack_are_not_rounded_away_in_half_precision():
    model = nn.Linear(6, 3).bfloat16()
    images = torch.full((8, 6), 0.9).bfloat16()
    method = PGDTraining(CrossEntropy(), eps=0.05, steps=100)
    moved = method.attack(model, method.check(model, images, Y))
    assert moved.dtype == torch.bfloat16
    assert (moved.float() - 0.9).abs().mean() > 0.04


def test_a_critic_is_trained_on_arrays_and_checks_its_batch():
    method, model = AIB(0.1, 6, 4), Bottleneck(nn.Linear(6, 4), nn.Linear(4, 3))
    optimiser = torch.optim.Adam(method.critic_parameters())
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.critic_step(model, X.numpy(), Y.numpy(), optimiser)
    assert torch.isfinite(loss)
    with pytest.raises(InputError, match=r"must lie in 0..2, got 1..3"):
        method.critic_step(model, X, Y + 1, optimiser)
    with pytest.raises(InputError, match=r"built for 784 inputs, got 6; write AIB\(..., inputs=6"):
        AIB(0.1, 784, 4)(model, X, Y)


@pytest.mark.parametrize("code", [-1000.0, -30.0, 30.0, 1000.0])
def test_logits_and_codes_of_any_size_have_finite_losses_and_gradients(code):
    wide = code * torch.tensor([1.0, -1.0, 0.5])

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(wide.clone())

        def forward(self, x):
            return self.logits + 0 * x.sum(1, keepdim=True)

    for wrapper in (MART, TRADES, PGDTraining):
        model = Fixed()
        loss = wrapper(CrossEntropy(), eps=0.1, steps=1)(model, X, Y * 0 + 1)
        loss.backward()
        assert torch.isfinite(model.logits.grad).all()
    # By hand: the label's logit is lower or higher than the best other by so much.
    assert PGDTraining(CrossEntropy(), eps=0.1, steps=1)(Fixed(), X, Y * 0 + 1).item() == (
        pytest.approx(wide.max().item() - wide[1].item(), abs=1e-5)
    )
    net = BinaryStochasticNet(6, [4, 3], 3)
    method = JointIMB(0.1, [4, 3], samples=2)
    for layer in net.linear_layers():
        nn.init.constant_(layer.bias, code)
    for odds in method.log_odds:
        nn.init.constant_(odds, -code)
    method(net, X, Y).backward()
    assert all(torch.isfinite(p.grad).all() for p in [*net.parameters(), *method.parameters()])


def test_a_class_mean_far_away_costs_half_its_squared_distance():
    model = Bottleneck(nn.Linear(6, 2), nn.Linear(2, 3), latent="unit", mode="mean")
    method = CEB(1.0, 2, 3)
    for parameter in [*model.encoder.parameters(), method.class_means]:
        nn.init.zeros_(parameter)
    nn.init.constant_(method.class_means, 1000.0)
    terms = method.terms(method.observe(model, batch := method.check(model, X, Y)), batch)
    assert terms.regularisers["residual_information"].value.item() == 1e6


def test_no_layers_are_nothing_to_regularise():
    for layers in ([], ()):
        with pytest.raises(ValueError, match=r"HBaR with layers=\(\) has nothing to regularise"):
            HBaR(0.1, layers=layers)


def test_bright_images_are_warned_of_once(caplog):
    _warn_of_range.cache_clear()
    for method in (VIB(0.1), VIB(0.1)):
        method(stochastic(), X * 255, Y)
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "inputs look like images in 0..255"
    ]
    caplog.clear()
    _warn_of_range.cache_clear()
    for x in (X, 2 * X, X * 255 - 10, X * 1000):
        VIB(0.1)(stochastic(), x, Y)
    assert not caplog.records


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X.to("meta"), Y, "inputs must hold numbers"),
        (X, Y.to("meta"), "labels must hold numbers"),
        (X.to_sparse(), Y, "inputs must be a dense tensor"),
    ],
)
def test_inputs_and_labels_hold_numbers(x, y, says):
    with pytest.raises(InputError, match=says):
        CrossEntropy()(nn.Linear(6, 3), x, y)


class _Changed(nn.Module):
    def __init__(self, change) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(6, 3), change

    def forward(self, x):
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: z.to("meta"), "logits must hold numbers"),
        (lambda z: z.to_sparse(), "logits must be a dense tensor"),
        (lambda z: z[:, :0], "at least 2 classes are needed here, the model has 0"),
    ],
)
def test_logits_hold_numbers(change, says):
    with pytest.raises(InputError, match=says):
        CrossEntropy()(_Changed(change), X, Y)


@pytest.mark.parametrize("beta", ["0.1", True, None, 1j])
def test_beta_is_a_number(beta):
    with pytest.raises(ConfigError, match="beta must be a number"):
        VIB(beta)
