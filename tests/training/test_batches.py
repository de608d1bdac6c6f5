import torch
from torch import nn

from narrows import CrossEntropy
from narrows.data import Dataset
from narrows.data.augment import crop_and_flip
from narrows.training import Members, Objective, Solo, Stacked, TrainConfig
from narrows.training.batches import seeded_batches
from scenarios_training import prototypes

DATA = prototypes(n=96)
IMAGES = Dataset("images", DATA.x.view(-1, 1, 4, 5), DATA.y, DATA.classes)


def objective(seed=0) -> Objective:
    return Objective(nn.Sequential(nn.Flatten(), nn.Linear(20, 4)), CrossEntropy())


def rows_of(members: Members, data: Dataset = DATA) -> list[torch.Tensor]:
    """The labels of the batches of one epoch, `[members, batch]`."""
    return [y for _, y in seeded_batches(data, members, TrainConfig(batch_size=32))]


def test_each_epoch_visits_every_sample_once_in_another_order():
    members = Solo(objective(), 3)
    first, second = (torch.cat(rows_of(members), 1) for _ in range(2))
    assert torch.equal(first.sort().values[0], DATA.y.sort().values)
    assert not torch.equal(first, second)


def test_members_of_one_seed_see_the_same_moved_images():
    members = Stacked([objective(seed=s) for s in (0, 1, 2)], [7, 8, 7])
    config = TrainConfig(epochs=2, batch_size=32, augment="crop_flip")
    x, y = next(seeded_batches(IMAGES, members, config))
    assert torch.equal(x[0], x[2])
    assert torch.equal(y[0], y[2])
    alone = Solo(objective(seed=1), 8)
    alone_x, alone_y = next(seeded_batches(IMAGES, alone, config))
    assert torch.equal(x[1], alone_x[0])
    assert torch.equal(y[1], alone_y[0])
    plain, _ = next(seeded_batches(IMAGES, Solo(objective(), 8), TrainConfig(batch_size=32)))
    by_hand = crop_and_flip(plain[0], torch.Generator().manual_seed(8 + 2**32))
    assert torch.equal(alone_x[0], by_hand)
    assert not torch.equal(by_hand, plain[0])
