import pytest
import torch

from narrows.data import epoch_rows
from narrows.errors import InputError


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_an_epoch_visits_every_row_once_for_each_member():
    batches = list(epoch_rows(12, 4, generators(0, 1)))
    assert [batch.shape for batch in batches] == [(2, 4)] * 3
    for member in torch.cat(batches, 1):
        assert sorted(member.tolist()) == list(range(12))
    assert batches[0].dtype == torch.int64


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"), [(11, 4, [4, 4]), (3, 4, [3]), (4, 4, [4]), (1, 1, [1])]
)
def test_the_incomplete_batch_is_dropped_unless_it_is_the_only_one(n, batch_size, expected):
    batches = list(epoch_rows(n, batch_size, generators(0)))
    assert [batch.shape[1] for batch in batches] == expected
    seen = torch.cat(batches, 1)[0].tolist()
    assert len(set(seen)) == len(seen)


def test_a_members_rows_do_not_depend_on_the_others_over_several_epochs():
    alone, beside = generators(5), generators(3, 5, 8)
    for _ in range(3):
        own = torch.cat(list(epoch_rows(20, 6, alone)), 1)[0]
        joint = torch.cat(list(epoch_rows(20, 6, beside)), 1)
        assert torch.equal(own, joint[1])
        assert not torch.equal(own, joint[0])


def test_epochs_differ_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    (generator,) = generators(0)
    first, second = (torch.cat(list(epoch_rows(20, 5, [generator]))) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("n", "size", "count"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_impossible_requests_are_refused_at_once(n, size, count):
    with pytest.raises(InputError, match="at least one"):
        epoch_rows(n, size, generators(*range(count)))
