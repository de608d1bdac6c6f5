from narrows.methods import METHODS, VIB
from narrows.methods.adversarial import WRAPPERS
from narrows.methods.catalogue import catalogue


def test_every_method_and_wrapper_is_listed_with_what_its_class_says():
    entries = {entry.name: entry for entry in catalogue()}
    assert list(entries) == [*METHODS, *WRAPPERS]
    assert entries["vib"].betas == VIB.default_betas
    assert entries["vib"].source == "Alemi et al. 2017, arXiv 1612.00410"
    assert entries["vib"].claim.startswith("Variational information bottleneck: ")
    assert entries["cross_entropy"].betas == ()
    assert entries["cross_entropy"].randomness == ""
    assert entries["trades"].needs == "a method to wrap, and images in [0, 1]"
    assert entries["joint_imb"].needs == "binary stochastic layers"
