"""The classifier inside a model is found, whatever is put around it; a probe reads its features."""

import torch
from torch import nn

from narrows.audit._inside import Core, core_of, fit_probe, outputs_of
from narrows.audit.planted import Detached, Quantised
from scenarios_audit import Around, Misleading, case_of, undefended


class Scaled(Around):
    """Shows its model other numbers, outside of any graph."""

    def forward(self, x):
        with torch.no_grad():
            return self.model(0.5 * x + 0.1).softmax(1).round()


def test_the_innermost_classifier_of_images_is_the_core():
    model, x, _ = undefended()
    assert core_of(Quantised(Detached(model)), x, 10) is model
    assert core_of(model, x, 10) is None  # of its modules none takes the images
    assert core_of(Quantised(model), x, 9) is None


def test_a_core_answers_for_what_it_is_given_and_passes_the_gradient_on():
    model, x, _ = undefended()
    at = x.clone().requires_grad_()
    scores = Core(Scaled(model), model)(at)
    torch.testing.assert_close(scores, model(0.5 * x + 0.1))
    (gradient,) = torch.autograd.grad(scores.square().sum(), at)
    inner = (0.5 * x + 0.1).requires_grad_()
    (truth,) = torch.autograd.grad(model(inner).square().sum(), inner)
    torch.testing.assert_close(gradient, truth)


def test_a_core_with_nothing_around_it_is_no_view():
    assert case_of().view("core") is None
    assert case_of(Around).view("core") is None
    assert case_of(Detached).view("core") is not None


def test_a_probe_reads_labels_from_features():
    model, x, y = undefended()
    probe = fit_probe(Misleading(model), x, y, 10)
    assert probe.layer is model[2]  # 64 units; the scores behind it are no wider than the classes
    assert (probe(x).argmax(1) == y).double().mean() > 0.9
    assert fit_probe(nn.Flatten(), x, y, 10) is None
    assert fit_probe(Scaled(model), x, y, 10) is None  # no gradient reaches the image


def test_outputs_are_those_that_are_wanted():
    model, x, _ = undefended()
    seen = outputs_of(Around(model), x, lambda given, out: out.shape[1] == 64)
    assert list(seen) == ["model.0", "model.1", "model.2"]
    assert torch.equal(seen["model.1"][1], model[1](x.flatten(1)))


def test_a_probe_is_the_ridge_solution():
    """On orthogonal features of size 1 each weight is its correlation with the label over 1.01."""
    signs = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    probe = fit_probe(model, signs[:, None], torch.tensor([0, 1, 0, 1]), 2)
    assert probe.layer is model[0]
    weight = 0.5 / 1.01
    expected = [[weight, -weight], [0, 0], [0, 0], [0, 0]]
    torch.testing.assert_close(probe.weight, torch.tensor(expected), atol=1e-6, rtol=1e-5)
