import pytest
import torch

from narrows.data.augment import crop_and_flip
from narrows.errors import InputError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, generator, padding):
    """The same with a loop over the images, and over what is cut out of a larger array of zeros."""
    count, channels, height, width = images.shape
    offsets = torch.randint(2 * padding + 1, (2, count, 1), generator=generator)
    flips = torch.randint(2, (count, 1), generator=generator)
    result = torch.zeros_like(images)
    for n in range(count):
        large = images.new_zeros(channels, height + 2 * padding, width + 2 * padding)
        large[:, padding : padding + height, padding : padding + width] = images[n]
        top, left = offsets[0, n].item(), offsets[1, n].item()
        cut = large[:, top : top + height, left : left + width]
        result[n] = cut.flip(2) if flips[n] else cut
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9)])
def test_it_is_exactly_the_loop_over_the_images(dtype, padding, shape):
    images = torch.randint(256, (50, *shape), generator=seeded(1)).to(dtype)
    before = images.clone()
    found = crop_and_flip(images, seeded(), padding)
    assert found.dtype == dtype
    assert torch.equal(found, one_by_one(images, seeded(), padding))
    assert torch.equal(images, before)


def test_all_places_and_flips_are_equally_likely():
    # One lit pixel in the middle: where it lands tells the offset; its neighbour, the flip.
    image = torch.zeros(1, 1, 9, 9)
    image[..., 4, 4], image[..., 4, 5] = 1, 2
    found = crop_and_flip(image.expand(20_000, -1, -1, -1), seeded(), padding=1)[:, 0]
    lit = (found == 1).nonzero()
    places = (lit[:, 1] - 3) * 3 + lit[:, 2] - 3
    assert places.bincount().tolist() == pytest.approx([20_000 / 9] * 9, rel=0.1)
    right = found[lit[:, 0], lit[:, 1], lit[:, 2] + 1] == 2
    assert right.double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_one_seed_one_result_and_no_other_randomness():
    images = torch.rand(20, 3, 8, 8)
    state = torch.get_rng_state()
    first = crop_and_flip(images, seeded(3))
    assert torch.equal(first, crop_and_flip(images, seeded(3)))
    assert not torch.equal(first, crop_and_flip(images, seeded(4)))
    assert torch.equal(state, torch.get_rng_state())


def test_gradients_reach_the_pixels_that_are_left():
    images = torch.rand(4, 1, 6, 6, requires_grad=True)
    crop_and_flip(images, seeded(), padding=2).sum().backward()
    assert set(images.grad.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("shape", "padding"), [((3, 8, 8), 4), ((2, 3, 8, 8), -1)])
def test_what_cannot_be_cropped_is_refused(shape, padding):
    with pytest.raises(InputError, match=r"expected images \[batch, channels, height, width\] and"):
        crop_and_flip(torch.rand(shape), seeded(), padding)
