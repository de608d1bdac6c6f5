import pytest
import torch
import torch.nn.functional as F

from narrows.models import tap
from narrows.models.preact_resnet import PreActResNet


@pytest.mark.parametrize(("final_norm", "parameters"), [(False, 11_171_146), (True, 11_172_170)])
def test_number_of_parameters(final_norm, parameters):
    with torch.device("meta"):
        model = PreActResNet((3, 32, 32), 10, final_norm=final_norm)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_shapes_of_the_groups():
    model = PreActResNet((3, 32, 32), 10)
    names = [f"layer{n}" for n in range(1, 5)]
    seen = tap(model, names)(torch.rand(2, 3, 32, 32)).activations
    shapes = [tuple(seen[name].shape[1:]) for name in names]
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]


@pytest.mark.parametrize("final_norm", [True, False])
def test_the_network_is_its_equation(final_norm):
    torch.manual_seed(0)
    model = PreActResNet((3, 8, 8), 10, final_norm=final_norm, normalise=False).double().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    wanted = model(x)
    h = F.conv2d(x, model.conv1.weight, padding=1)
    for number in range(1, 5):
        for index, block in enumerate(model.get_submodule(f"layer{number}")):
            stride = 2 if number > 1 and index == 0 else 1
            a = F.relu(block.bn1(h))
            skip = h
            if stride == 2:
                skip = F.conv2d(a, block.shortcut[0].weight, stride=2)
            b = F.relu(block.bn2(F.conv2d(a, block.conv1.weight, stride=stride, padding=1)))
            h = skip + F.conv2d(b, block.conv2.weight, padding=1)
    if final_norm:
        h = F.relu(model.bn(h))
    torch.testing.assert_close(model.linear(h.mean((2, 3))), wanted)
