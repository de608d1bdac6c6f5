"""Errors of users are of one family, and a misspelt name gets the nearest valid ones."""

import pytest

from narrows import errors

KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_of_the_family_and_of_a_builtin_kind(kind):
    assert issubclass(kind, errors.NarrowsError)
    if kind is not errors.NarrowsError:
        assert issubclass(kind, ValueError | OSError | ArithmeticError)
    with pytest.raises(errors.NarrowsError, match="why"):
        raise kind("why")


def test_the_nearest_names_come_first():
    said = str(errors.unknown_name("method", "vibb", ["aib", "ceb", "vib", "nib"]))
    assert said.startswith("unknown method 'vibb'; did you mean 'vib'? Valid: vib, ")
    assert sorted(said.partition("Valid: ")[2].split(", ")) == ["aib", "ceb", "nib", "vib"]


def test_a_name_like_none_of_them_gets_no_guess():
    said = str(errors.unknown_name("network", "zzz", {"mlp": 1, "cnn": 2}))
    assert said == "unknown network 'zzz'. Valid: cnn, mlp"
