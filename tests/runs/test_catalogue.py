import torch

from narrows.methods import METHODS, VIB
from narrows.methods.adversarial import WRAPPERS
from narrows.runs.catalogue import catalogue


def test_every_method_and_wrapper_is_listed_with_its_betas():
    entries = catalogue()
    assert [entry.name for entry in entries] == [*METHODS, *WRAPPERS]
    by_name = {entry.name: entry for entry in entries}
    assert by_name["vib"].betas == VIB.default_betas
    assert by_name["cross_entropy"].betas == ()
    assert all(entry.what and not entry.what.endswith(".") for entry in entries)


def test_what_a_method_needs_is_found_by_trying():
    needs = {entry.name: entry.needs for entry in catalogue()}
    assert needs["cross_entropy"] == needs["label_smoothing"] == ()
    assert needs["dropout"] == needs["hbar"] == ("hidden layers",)
    assert needs["vib"] == ("gaussian latent",)
    assert needs["nib"] == ("shared latent",)
    assert needs["aib"] == ("deterministic latent", "critic")
    assert needs["joint_imb"] == ("binary stochastic layers",)
    assert needs["trades"] == ("a method", "images")


def test_sources_are_the_first_that_the_modules_name():
    sources = {entry.name: entry.source for entry in catalogue()}
    assert sources["vib"] == "Alemi et al. (2017), arXiv 1612.00410"
    assert sources["aib"] == "Zhai & Zhang (2021), arXiv 2103.00381"
    assert sources["dropout"] == "Srivastava et al. (2014), JMLR 15"
    assert all(len(source) < 80 for source in sources.values())


def test_looking_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    catalogue()
    assert torch.equal(torch.get_rng_state(), before)
