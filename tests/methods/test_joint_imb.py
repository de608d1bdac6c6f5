import pytest
import torch

from narrows import BinaryStochasticNet, JointIMB
from narrows.errors import ConfigError, InputError
from narrows.training import Objective, Stacked
from narrows.types import Batch
from scenarios_binary import exact_terms, tiny


def batch(n=16) -> Batch:
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def with_priors(method: JointIMB) -> JointIMB:
    generator = torch.Generator().manual_seed(3)
    for odds in method.log_odds:
        odds.data = torch.randn(len(odds), generator=generator, dtype=torch.float64)
    return method.double()


def test_the_loss_is_the_sum_over_layers_of_what_enumeration_gives():
    torch.manual_seed(0)
    net, (x, y) = tiny((2, 2)), batch(3)
    gammas, beta = [0.5, 1.0, 2.0], 0.3
    method = with_priors(JointIMB(beta, [2, 2], gammas, samples=120))
    with torch.no_grad():
        terms = method.terms(method.observe(net, Batch(x, y)), Batch(x, y))
    exact = [exact_terms(net, x[i], int(y[i]), list(method.log_odds)) for i in range(3)]
    mean = {name: sum(e[name].item() for e in exact) / 3 for name in exact[0]}
    assert terms.prediction.item() == pytest.approx(gammas[0] * mean["vcr.0"], abs=0.02)
    total = gammas[0] * mean["vcr.0"]
    for layer in (1, 2):
        vcr, cost = mean[f"vcr.{layer}"], mean[f"compression.{layer}"]
        assert terms.regularisers[f"vcr_{layer}"].value.item() == pytest.approx(vcr, abs=0.05)
        found = terms.regularisers[f"compression_{layer}"].value.item()
        assert found == pytest.approx(cost, abs=0.05)
        total += gammas[layer] * (vcr + beta * cost)
    assert terms.total.item() == pytest.approx(total, abs=0.15)


def test_beta_zero_is_the_sum_of_the_relevances():
    torch.manual_seed(0)
    net, data = tiny((4, 2)), batch()
    method = JointIMB(0.0, [4, 2], samples=3).double()
    output = method.observe(net, data)
    by_hand = sum(output.activations[f"vcr.{layer}"].mean() for layer in range(3))
    torch.testing.assert_close(method.terms(output, data).total, by_hand)


def test_the_priors_learn_the_mean_of_their_layer():
    torch.manual_seed(0)
    net, data = tiny((4,)), batch(64)
    method = JointIMB(1.0, [4], samples=2).double()
    optimiser = torch.optim.Adam(method.parameters(), 0.1)
    for _ in range(200):
        optimiser.zero_grad()
        method(net, *data).backward()
        optimiser.step()
    wanted = torch.sigmoid(net.linear_layers()[0](data.x)).mean(0)
    torch.testing.assert_close(method.log_odds[0].sigmoid(), wanted, atol=0.02, rtol=0)


def test_a_heavy_weight_leaves_no_layer_anything():
    torch.manual_seed(0)
    net, method, (x, y) = tiny((4, 3)), JointIMB(10.0, [4, 3], samples=4).double(), batch(64)
    optimiser = torch.optim.Adam([*net.parameters(), *method.parameters()], 0.1)
    for _ in range(200):
        optimiser.zero_grad()
        method(net, x, y).backward()
        optimiser.step()
    terms = method.terms(method.observe(net, Batch(x, y)), Batch(x, y)).values()
    assert terms["compression_1"] + terms["compression_2"] < 0.05
    assert 0.6 < terms["prediction"] < 0.75  # H(Y), about 0.69


def test_the_settings_of_the_paper():
    method = JointIMB.paper()
    assert (method.hidden, method.samples) == ((512, 512), 32)
    assert method.beta.item() == pytest.approx(1e-4)
    assert method.gammas.tolist() == [1, 1, 1]


def test_what_cannot_be_is_refused():
    for gammas in ([1, 1], [1, -1, 1], [1, float("nan"), 1]):
        with pytest.raises(ConfigError, match="3 gammas"):
            JointIMB(0.1, [4, 2], gammas)
    with pytest.raises(ConfigError, match="widths of the network's stochastic layers"):
        JointIMB(0.1, [])
    with pytest.raises(InputError, match=r"built for layers of \(4, 3\), the network has \(4, 2\)"):
        JointIMB(0.1, [4, 3]).double()(tiny((4, 2)), *batch())


def test_a_stack_is_not_drawn_in_chunks():
    net = BinaryStochasticNet(3, [4], 2)
    with pytest.raises(ConfigError, match="chunk=None"):
        Stacked([Objective(net, JointIMB(0.1, [4], samples=2, chunk=4))] * 2, [0, 1])
