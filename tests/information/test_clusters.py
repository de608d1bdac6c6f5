import pytest
import torch

from narrows.information._clusters import (
    Clusters,
    distances,
    encode,
    grow,
    log_terms,
    logits_of,
    merge,
    pad,
    start,
    trim,
    update,
)
from narrows.information._joint import Source
from scenarios import generator

T = torch.tensor([2.0, 20.0]).double()


def source(rows=6, classes=3, seed=0):
    joint = torch.rand(rows, classes, dtype=torch.float64, generator=generator(seed))
    joint = joint / joint.sum()
    return Source(joint.sum(1), joint / joint.sum(1, keepdim=True))


def clusters(count=4, classes=3, seed=1):
    """The same number of clusters at both values of t, of random weights and decoders."""
    draw = generator(seed)
    w = torch.rand(2, count, dtype=torch.float64, generator=draw)
    q = torch.rand(2, count, classes, dtype=torch.float64, generator=draw)
    return Clusters(w / w.sum(1, keepdim=True), logits_of((q / q.sum(2, keepdim=True)).log()))


def weighted(part):
    """Each cluster as (weight, decoder), in an order that does not depend on how they are kept."""
    rows = torch.cat([part.w[..., None], part.w[..., None] * part.q], 2)
    return [sorted(map(tuple, row[row[:, 0] > 0].tolist())) for row in rows]


def test_terms_and_encoder_follow_their_definitions():
    given, of = source(), clusters()
    kl = (given.p_y[:, None] * (given.p_y[:, None].log() - of.q.log()[:, None])).sum(-1)
    expected = of.w[:, None] * (-T[:, None, None] * kl).exp()
    assert torch.allclose(log_terms(given, T, of).exp(), expected)
    encoder, log_l = encode(given, T, of)
    assert torch.allclose(log_l.exp(), expected.sum(2))
    assert torch.allclose(encoder, expected / expected.sum(2, keepdim=True))


def test_an_update_takes_marginal_and_decoders_from_the_encoder():
    given, of = source(), clusters()
    encoder, _ = encode(given, T, of)
    encoder[..., 0] = 0
    new = update(given, encoder, of)
    p_xz = given.p_x[:, None] * encoder
    assert torch.allclose(new.w, p_xz.sum(1))
    decoders = torch.einsum("bxz,xy->bzy", p_xz, given.p_y) / p_xz.sum(1)[..., None]
    assert torch.allclose(new.q[:, 1:], decoders[:, 1:])
    # An empty cluster keeps its decoder.
    assert torch.equal(new.q[:, 0], of.q[:, 0])


def test_updates_never_raise_the_objective():
    given, of = source(), clusters()
    heights = []
    for _ in range(20):
        encoder, log_l = encode(given, T, of)
        heights.append(log_l @ given.p_x)
        of = update(given, encoder, of)
    assert (torch.stack(heights).diff(dim=0) >= -1e-12).all()


def test_close_clusters_become_one_with_the_mean_of_their_decoders():
    of = clusters(3)
    twice = Clusters(torch.cat([of.w / 4, of.w * 0.75], 1), of.logits.repeat(1, 2, 1))
    merged = merge(twice, T, 1e-6)
    for rows, expected in zip(weighted(merged), weighted(of), strict=True):
        assert len(rows) == 3
        assert torch.tensor(rows) == pytest.approx(torch.tensor(expected), abs=1e-9)


def test_clusters_that_are_far_apart_stay_and_light_ones_are_emptied():
    of = clusters()
    assert (merge(of, T, 0.0).w > 0).sum(1).tolist() == [4, 4]
    w = of.w.clone()
    w[:, 0] = 1e-40
    left = merge(of._replace(w=w), T, 0.0)
    assert (left.w > 0).sum(1).tolist() == [3, 3]
    assert left.w.sum(1).tolist() == pytest.approx([1, 1])


def test_trimming_and_padding_change_no_cluster():
    of = clusters()
    w = of.w.clone()
    w[0, 1:3] = 0
    w[1, 2] = 0
    of = Clusters(w, of.logits)
    trimmed = trim(of)
    assert trimmed.w.shape == (2, 3)
    assert (trimmed.w.diff(dim=1) <= 0).all()
    padded = pad(trimmed, 7)
    assert padded.w.shape == (2, 7)
    assert weighted(padded) == weighted(trimmed) == weighted(of)
    assert pad(trimmed, 2) is trimmed


def test_new_decoders_are_added_best_first_as_far_as_there_is_room():
    given, of = source(), clusters(2)
    q = torch.eye(3).double().mul(0.9).add(0.1 / 3).expand(2, -1, -1)
    worth = torch.tensor([[True, True, True], [False, False, False]])
    grown, could = grow(given, T, of, q, worth, most=4)
    assert could.tolist() == [True, False]
    assert (grown.w > 0).sum(1).tolist() == [4, 2]
    assert grown.w.sum(1).tolist() == pytest.approx([1, 1])
    # Their weight is the one that is best for the others as they are, so the code does not lose.
    before, after = (encode(given, T, part)[1] @ given.p_x for part in (of, grown))
    assert after[0] >= before[0] - 1e-9
    assert after[1].item() == pytest.approx(before[1].item())
    assert not grow(given, T, of, q, worth, most=2)[1].any()


def test_a_start_has_the_same_equal_clusters_for_all():
    q = torch.tensor([[0.2, 0.8], [0.6, 0.4]]).double()
    begun = start(q, 3)
    assert begun.w.tolist() == [[0.5, 0.5]] * 3
    assert torch.allclose(begun.q, q.expand(3, -1, -1))


def test_logits_are_zero_at_the_likeliest_class_and_end_at_40_below():
    logits = logits_of(torch.tensor([[0.0, 0.3, 0.6]]).double().log())
    assert logits[0].tolist() == pytest.approx([-40, torch.tensor(0.5).log().item(), 0])


def test_hellinger_distances_times_the_root_of_two():
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0]])
    assert distances(p, q)[:, 0].tolist() == pytest.approx(
        [2**0.5, (0.5 + (1 - 0.5**0.5) ** 2) ** 0.5]
    )
