"""Errors of one draw and of twelve, and the posteriors of codes of two units."""

import math

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError, StoreError
from narrows.models.bottleneck import Bottleneck, as_classifier
from narrows.papers.vib import _surroundings, embeddings, shot_errors
from narrows.runs import Member, Progress
from scenarios_runs import copied, tiny_run


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    return copied(small_run, tmp_path_factory.mktemp("vib"))


def test_errors_are_those_of_one_draw_and_of_twelve(run):
    rows = shot_errors(run, Progress())
    assert len(rows) == 2 * 2 * 8
    member, test = Member("cross_entropy", 0.0, 1), run.splits.test
    wrong = as_classifier(run.model(member))(test.all().x).argmax(1) != test.y
    errors = {(row.split, row.shots): row.error for row in rows if row.member == member}
    assert set(errors) == {("train", 1), ("train", 12), ("test", 1), ("test", 12)}
    share = pytest.approx(wrong.double().mean().item())
    assert errors["test", 1] == errors["test", 12] == share
    vib = {(row.split, row.shots): row.error for row in rows if row.member.beta == 0.01}
    assert vib["test", 1] > vib["test", 12]  # one draw of a noisy code is worse than twelve
    assert shot_errors(run, Progress()) == rows


def test_posteriors_of_independent_units(run):
    rows = embeddings(run, Progress())
    assert [row.member for row in rows] == run.members(["vib"])
    row, model = rows[0], run.model(rows[0].member)
    batch = run.splits.test.batch(slice(0, 5))
    with torch.no_grad():
        latent = model.encode(batch.x)
    torch.testing.assert_close(torch.tensor(row.mean[:5]), latent.mean, atol=1e-4, rtol=0)
    factor = torch.tensor(row.factor[:5]).reshape(-1, 2, 2)
    torch.testing.assert_close(factor, latent.scale.diag_embed(), atol=1e-4, rtol=0)
    assert row.label[:5] == batch.y.tolist()
    assert len(row.mean) == len(row.label) == len(run.splits.test)


def test_the_square_holds_the_posteriors_and_the_entropy_is_the_decoders(run):
    row = embeddings(run, Progress())[0]
    model = run.model(row.member)
    mean, factor = torch.tensor(row.mean), torch.tensor(row.factor).reshape(-1, 2, 2)
    reach = 2.6 * factor.norm(dim=2)
    centre = torch.tensor(row.centre)
    assert ((mean + reach - centre).amax(0) <= row.half + 1e-3).all()
    assert ((centre - mean + reach).amax(0) <= row.half + 1e-3).all()
    side = math.isqrt(len(row.entropy))
    assert side**2 == len(row.entropy) == 6400
    # The last point of the grid is the upper right corner, the second one lies above the first.
    for index, corner in ((-1, (1.0, 1.0)), (0, (-1.0, -1.0)), (side - 1, (-1.0, 1.0))):
        z = centre + row.half * torch.tensor(corner)
        q = model.decoder(z[None]).softmax(1)
        entropy = -(q * q.log()).sum().item() / math.log(2)
        assert row.entropy[index] == pytest.approx(entropy, abs=1e-3)
    assert 0 <= min(row.entropy) <= max(row.entropy) <= math.log2(10) + 1e-3


def test_posteriors_with_full_covariance(tmp_path):
    network = {"encoder": [8], "bottleneck": 2, "decoder": [], "latent": "full"}
    quick = {"methods": ["vib"], "betas": [0.1], "seeds": 1, "train": {"epochs": 1}}
    run = tiny_run(tmp_path, **quick, network=network)
    (row,) = embeddings(run, Progress())
    with torch.no_grad():
        latent = run.model(row.member).encode(run.splits.test.batch(slice(0, 5)).x)
    factor = torch.tensor(row.factor[:5]).reshape(-1, 2, 2)
    torch.testing.assert_close(factor, latent.scale, atol=1e-4, rtol=0)
    assert (factor[:, 0, 1] == 0).all()


def test_codes_that_are_no_plane_are_refused_before_anything_is_measured(tmp_path):
    quick = {"betas": [0.1], "seeds": 1, "train": {"epochs": 1}}
    run = tiny_run(tmp_path, **quick, network={"encoder": [8], "bottleneck": 3, "decoder": []})
    with pytest.raises(ConfigError, match="Gaussian codes of 2 units, and no model of this run"):
        embeddings(run, Progress())
    assert not (run.path / "figures").exists()


def test_a_run_without_a_variational_rate_is_refused_before_anything_is_measured(tmp_path):
    quick = {"methods": ["cross_entropy"], "seeds": 1, "train": {"epochs": 1}}
    plain = tiny_run(tmp_path, **quick)
    with pytest.raises(StoreError, match="has a variational rate; train vib"):
        shot_errors(plain, Progress())
    with pytest.raises(ConfigError, match="Gaussian codes of 2 units"):
        embeddings(plain, Progress())  # whose code has two units and no noise
    assert not (plain.path / "figures").exists()


def test_the_square_around_two_posteriors():
    """N((0, 0), diag(1, 4)) and N((10, 0), I): 2.6 deviations to each side, the wider way."""
    model = Bottleneck(nn.Linear(1, 4), nn.Linear(2, 4), latent="gaussian")
    nn.init.zeros_(model.decoder.weight)
    nn.init.zeros_(model.decoder.bias)
    mean = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    factor = torch.stack([torch.diag(torch.tensor([1.0, 2.0])), torch.eye(2)])
    centre, half, entropy = _surroundings(model, mean, factor)
    assert centre == (5.0, 0.0)
    assert half == pytest.approx(5 + 2.6)
    assert set(entropy) == {2.0}  # a decoder that knows nothing, of four classes
