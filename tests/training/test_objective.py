import torch
from torch import nn

from narrows import VIB, Bottleneck, CrossEntropy
from narrows.models.evaluating import evaluating
from narrows.training import Objective

X, Y = torch.rand(8, 4), torch.randint(2, (8,))


def test_stages_chained_give_the_loss_of_the_method():
    model = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian")
    objective = Objective(model, VIB(beta=0.3))
    torch.manual_seed(0)
    parts = objective.terms(objective.observe(X, Y), X, Y)
    torch.manual_seed(0)
    assert torch.equal(parts["total"], objective.method(model, X, Y))
    assert torch.equal(parts["loss"], parts["total"])
    assert set(parts) == {"total", "loss", "prediction", "rate"}
    assert torch.equal(objective("predict", X), objective.predict(X))


def test_predictions_are_made_in_evaluation_mode_at_the_latents_mean():
    encoder = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
    model = Bottleneck(encoder, nn.Linear(3, 2), latent="gaussian")
    statistics = encoder[1].running_mean.clone()
    before = torch.get_rng_state()
    logits = Objective(model, VIB(beta=0.3)).predict(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(encoder[1].running_mean, statistics)
    assert not logits.requires_grad
    mean = encoder.eval()(X)[:, :3]
    torch.testing.assert_close(logits, model.decoder(mean))
    assert model.mode == "sample"


def test_evaluation_mode_ends_where_it_began():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3))
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]


def test_a_plain_network_is_trained_by_plain_cross_entropy():
    objective = Objective(nn.Linear(4, 2), CrossEntropy())
    assert objective.predict(X).shape == (8, 2)
