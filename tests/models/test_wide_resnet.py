import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models.wide_resnet import wide_resnet


# In millions by Zagoruyko & Komodakis: 36.5 for WRN-28-10, 11.0 for WRN-16-8, 8.9 for WRN-40-4.
@pytest.mark.parametrize(
    ("depth", "width", "parameters"),
    [(28, 10, 36_479_194), (16, 8, 10_961_370), (40, 4, 8_949_210)],
)
def test_number_of_parameters(depth, width, parameters):
    with torch.device("meta"):
        model = wide_resnet((3, 32, 32), 10, depth=depth, width=width)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == depth - 4 + 1 + 3


def test_dropout_is_between_the_convolutions_of_each_block():
    torch.manual_seed(0)
    model = wide_resnet((3, 8, 8), 10, depth=16, width=1, dropout=0.3)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.3] * 6
    x = torch.rand(4, 3, 8, 8)
    model.eval()
    assert torch.equal(model(x), model(x))
    for module in model.modules():
        module.training = isinstance(module, nn.Dropout)
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(("depth", "width"), [(26, 10), (4, 10), (28, 0)])
def test_depths_and_widths_that_there_are_not(depth, width):
    with pytest.raises(ConfigError, match=f"10, 16, 22, 28.*got depth={depth}, width={width}"):
        wide_resnet((3, 32, 32), 10, depth=depth, width=width)
