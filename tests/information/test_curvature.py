"""Newton's steps, against derivatives that autograd takes of the objective."""

import pytest
import torch

from narrows.information._clusters import Clusters, encode, logits_of, update
from narrows.information._curvature import free, positive, step_by_rows, step_by_unknowns
from narrows.information._joint import Source
from scenarios import generator


def solved(rows, classes, count, t, steps=4000, seed=0):
    """A source and clusters at a stationary point, by the plain iteration."""
    draw = generator(seed)
    joint = torch.rand(rows, classes, dtype=torch.float64, generator=draw) ** 4
    joint = joint / joint.sum()
    source = Source(joint.sum(1), joint / joint.sum(1, keepdim=True))
    w = torch.full((1, count), 1 / count).double()
    q = torch.rand(1, count, classes, dtype=torch.float64, generator=draw)
    clusters = Clusters(w, logits_of((q / q.sum(2, keepdim=True)).log()))
    for _ in range(steps):
        clusters = update(source, encode(source, t, clusters)[0], clusters)
    return source, clusters


def objective(source, t, unknowns, classes):
    """Phi of log w and the logits that move, `[Z, 1 + free]`."""
    log_w, logits = unknowns[:, 0], unknowns[:, 1:]
    if classes == 2:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    d = -(source.p_y @ logits.log_softmax(1).T)
    d = d + torch.special.xlogy(source.p_y, source.p_y).sum(1, keepdim=True)
    return source.p_x @ (log_w - t * d).logsumexp(1) - log_w.exp().sum()


def unknowns_of(clusters, classes):
    logits = clusters.logits[0]
    logits = logits[:, 1:] - logits[:, :1] if classes == 2 else logits
    return torch.cat([clusters.w[0].log()[:, None], logits], 1)


def gradient_of(source, t, clusters, classes):
    at = unknowns_of(clusters, classes).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(source, t, at, classes), at)
    return gradient[None]


@pytest.mark.parametrize("newton", [step_by_unknowns, step_by_rows])
@pytest.mark.parametrize(("classes", "count", "seed"), [(2, 2, 0), (3, 4, 2)])
def test_a_step_from_next_to_the_optimum_goes_there(newton, classes, count, seed):
    """Newton's error after a step is of the order of its square before."""
    t = torch.tensor([6.0]).double()
    # An optimum over any number of clusters, where no curvature has a wrong sign.
    source, clusters = solved(8, classes, count, t, seed=seed)
    best = unknowns_of(clusters, classes)
    nudge = 1e-4 * torch.randn(best.shape, dtype=torch.float64, generator=generator(3))
    if classes > 2:
        nudge[:, 1:] -= nudge[:, 1:].mean(1, keepdim=True)
    w = clusters.w * nudge[:, 0].exp()
    logits = clusters.logits.clone()
    logits[:, :, free(classes)] += nudge[:, 1:]
    away = Clusters(w, logits_of(logits))
    encoder, _ = encode(source, t, away)
    gradient = gradient_of(source, t, away, classes)
    step = newton(source, t, away, encoder, gradient)[0]
    before = (away.q - clusters.q).abs().max()
    logits = away.logits.clone()
    logits[:, :, free(classes)] += step[:, 1:]
    after = (logits.softmax(-1) - clusters.q).abs().max()
    assert after < 1e-2 * before
    off, off_after = w[0] - clusters.w[0], w[0] * (1 + step[:, 0]) - clusters.w[0]
    assert off_after.abs().max() < 1e-2 * off.abs().max()


def test_at_the_optimum_the_step_is_nothing():
    t = torch.tensor([6.0]).double()
    source, clusters = solved(8, 3, 2, t)
    encoder, _ = encode(source, t, clusters)
    for newton in (step_by_unknowns, step_by_rows):
        gradient = gradient_of(source, t, clusters, 3)
        assert gradient.abs().max() < 1e-9
        assert newton(source, t, clusters, encoder, gradient).abs().max() < 1e-6


def test_a_positive_curvature_is_inverted_and_a_negative_one_gets_the_other_sign():
    q = torch.tensor([0.2, 0.3, 0.5]).double()
    t = torch.tensor(4.0).double()
    rows = torch.tensor([[0.25, 0.25, 0.5], [0.15, 0.35, 0.5]]).double() - q
    for width, signs in ((1.0, (1, 1, 1)), (20.0, (-1, 1, 1))):
        spread = width**2 * (rows.T @ rows) / 2
        factor, scale = positive(q, spread, t)
        root = scale[:, None] * factor
        curvature = t * (torch.diag(q) - t * spread)
        # (s L)' curvature (s L) has eigenvalues of 1, or of -1 where the sign was wrong.
        values = torch.linalg.eigvalsh(root.T @ curvature @ root)
        assert values.tolist() == pytest.approx(signs)


def test_of_two_classes_one_logit_moves_and_of_more_all_do():
    assert torch.arange(2)[free(2)].tolist() == [1]
    assert torch.arange(3)[free(3)].tolist() == [0, 1, 2]
