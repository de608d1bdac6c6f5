import pytest
import torch

from narrows.models.precision import at_least_float32, full_precision, in_autocast

CPU, META = torch.device("cpu"), torch.device("meta")


def product_type() -> torch.dtype:
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_autocast_is_off_inside_and_on_again_outside():
    with torch.autocast("cpu", torch.bfloat16):
        assert in_autocast(CPU)
        with full_precision(CPU):
            assert not in_autocast(CPU)
            assert product_type() == torch.float32
        assert product_type() == torch.bfloat16
    assert not in_autocast(CPU)


def test_a_device_without_autocast_needs_nothing():
    with full_precision(META):
        assert not in_autocast(META)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.int64),
    ],
)
def test_only_half_precision_is_converted(kind, wanted):
    values = torch.ones(3, dtype=kind)
    assert at_least_float32(values).dtype == wanted
    assert (at_least_float32(values) is values) == (kind == wanted)
