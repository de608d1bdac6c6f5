"""An attack that loses what it had found is caught, and looks before the search do not count."""

import sys

import torch

from narrows.attacks import PGD, FixedEps
from narrows.audit.checks.silent_success import silent_success, silently_fooled
from scenarios_audit import MonteCarloDropout, case_of, undefended


class Careless(FixedEps):
    """Climbs like PGD, and returns the images it began with."""

    def perturb(self, query, x, generator):
        PGD(eps=self.eps, steps=10, restarts=1).perturb(query, x, generator)
        return x


class LookingFirst(FixedEps):
    """Looks at perturbed images before it searches, and then does not search."""

    def __call__(self, model, x, y, target=None):
        with torch.no_grad():
            model(PGD(eps=self.eps, steps=10, restarts=1)(model, x, y).x_adv)
        return super().__call__(model, x, y, target)

    def perturb(self, query, x, generator):
        return x


def test_an_attack_that_loses_what_it_found_is_caught():
    model, x, y = undefended()
    right = model(x).argmax(1) == y
    lost = silently_fooled(Careless(eps=0.2), model, x, y)
    assert torch.equal(lost, right)
    assert not silently_fooled(PGD(eps=0.2, steps=10, restarts=1), model, x, y).any()


def test_looks_before_the_search_do_not_count():
    model, x, y = undefended()
    assert not silently_fooled(LookingFirst(eps=0.2), model, x, y).any()


def test_the_share_decides(monkeypatch):
    module = sys.modules["narrows.audit.checks.silent_success"]
    assert silent_success(case_of()).passed
    for lost, passed in ((2, True), (10, False)):
        images = torch.arange(40) < lost
        monkeypatch.setattr(module, "silently_fooled", lambda *given, images=images: images)
        finding = silent_success(case_of())
        assert (finding.passed, finding.data["share"]) == (passed, lost / 40)


def test_noise_and_images_that_were_wrong_before_are_not_examined():
    assert not silent_success(case_of(MonteCarloDropout)).examined
    case = case_of()
    case.clean[:] = False
    assert not silent_success(case).examined
