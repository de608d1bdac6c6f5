"""A latent in a ResNet of torchvision, a network of timm and an encoder of Hugging Face."""

import pytest
import torch

from narrows import PGD, adapt, as_classifier, insert_bottleneck
from narrows.methods import CEB, NIB, VIB
from scenarios_frameworks import FRAMEWORKS, SIDE, network

IMAGES = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
METHODS = {VIB: lambda: VIB(0.01), CEB: lambda: CEB(0.1, 5, 3), NIB: lambda: NIB(0.1)}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_it_is_trained_and_attacked_behind_its_normalisation(name, kind):
    torch.manual_seed(0)
    net = insert_bottleneck(network(name), FRAMEWORKS[name], 5, kind.latent, example=IMAGES)
    model, method = adapt(net, mean=MEAN, std=STD), METHODS[kind]()
    optimiser = torch.optim.SGD([*model.parameters(), *method.parameters()], 0.01)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for _ in range(2):
        loss = method(model, IMAGES, LABELS)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(before[key], value)}
    inserted = {key for key in before if ".bottleneck." in key}
    assert inserted
    assert inserted <= moved
    assert len(moved) > len(inserted)
    classifier = as_classifier(model.eval(), mode="mean")
    result = PGD(eps=0.5, steps=3)(classifier, IMAGES, classifier(IMAGES).argmax(1))
    assert (result.x_adv.min() >= 0) & (result.x_adv.max() <= 1)
    assert result.backwards > 0


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_draw_classifies_each_image(name):
    model = insert_bottleneck(network(name), FRAMEWORKS[name], 5, example=IMAGES).eval()
    logits = as_classifier(model, samples=4)(IMAGES)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(6))
