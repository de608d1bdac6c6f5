import pytest
import torch
import torch.nn.functional as F

from narrows.models import tap
from narrows.models.resnet import ResNet18

# torchvision's number for ImageNet; that of the form for small images is He et al.'s with a stem
# of 3 * 3 * 3 * 64 in place of 7 * 7 * 3 * 64 weights, and 10 classes in place of 1,000.
IMAGENET = 11_689_512


@pytest.mark.parametrize(
    ("classes", "stem", "parameters"),
    [(1000, "imagenet", IMAGENET), (10, "cifar", IMAGENET - 40 * 3 * 64 - 990 * 513)],
)
def test_number_of_parameters(classes, stem, parameters):
    with torch.device("meta"):
        model = ResNet18((3, 32, 32), classes, stem=stem)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_parameters_have_the_names_of_torchvision():
    with torch.device("meta"):
        names = list(ResNet18((3, 32, 32), 10, stem="imagenet").state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    block = [
        "conv1.weight",
        *(f"bn1.{n}" for n in norm),
        "conv2.weight",
        *(f"bn2.{n}" for n in norm),
    ]
    down = ["downsample.0.weight", *(f"downsample.1.{n}" for n in norm)]
    wanted = ["conv1.weight", *(f"bn1.{n}" for n in norm)]
    for layer in range(1, 5):
        wanted += [f"layer{layer}.0.{n}" for n in [*block, *(down if layer > 1 else [])]]
        wanted += [f"layer{layer}.1.{n}" for n in block]
    assert names == [*wanted, "fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("stem", "shapes"),
    [
        ("cifar", [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]),
        ("imagenet", [(64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]),
    ],
)
def test_shapes_of_the_groups(stem, shapes):
    model = ResNet18((3, 32, 32), 10, stem=stem)
    names = [f"layer{n}" for n in range(1, 5)]
    seen = tap(model, names)(torch.rand(2, 3, 32, 32)).activations
    assert [tuple(seen[name].shape[1:]) for name in names] == shapes


def test_the_network_is_its_equation():
    torch.manual_seed(0)
    model = ResNet18((3, 8, 8), 10, normalise=False).double().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    h = F.relu(model.bn1(F.conv2d(x, model.conv1.weight, padding=1)))
    for number in range(1, 5):
        for index, block in enumerate(model.get_submodule(f"layer{number}")):
            stride = 2 if number > 1 and index == 0 else 1
            skip = h
            if stride == 2:
                skip = block.downsample[1](F.conv2d(h, block.downsample[0].weight, stride=2))
            a = F.relu(block.bn1(F.conv2d(h, block.conv1.weight, stride=stride, padding=1)))
            h = F.relu(skip + block.bn2(F.conv2d(a, block.conv2.weight, padding=1)))
    torch.testing.assert_close(model.fc(h.mean((2, 3))), model(x))
