import pytest

from narrows.errors import ConfigError
from narrows.methods import AIB, METHODS, VIB
from narrows.methods.adversarial import TRADES
from narrows.runs.options import check_options, check_values, declared_options


def test_options_that_a_method_declares_are_those_it_may_be_given():
    names = {"hidden", "steps", "selected", "averaging", "only_positive"}
    assert set(declared_options(AIB)) == names
    assert set(declared_options(VIB)) == {"samples"}
    assert declared_options(METHODS["confidence_penalty"]) == {}
    check_options("aib", {"hidden": (8, 8), "steps": 2, "selected": None, "averaging": 1})
    for name, kind in METHODS.items():
        for option in declared_options(kind):
            with pytest.raises(ConfigError, match=rf"options\.{name}\.{option} must be "):
                check_options(name, {option: {"of": "no type"}})


def test_a_wrapper_with_published_variants_may_be_given_one():
    assert "variant" in declared_options(TRADES)
    assert "method" not in declared_options(TRADES)
    check_options("trades", {"variant": "ib_rar"})


@pytest.mark.parametrize(
    ("hint", "good", "bad", "wanted"),
    [
        (int, [3, -1], [3.0, True, "3", None], "a whole number"),
        (float, [3, 2.5], [False, "2.5", None], "a number"),
        (bool, [True, False], [1, "true"], "true or false"),
        (str, ["a", ""], [1, None], "text"),
        (int | None, [None, 4], [4.5, "4"], "a whole number"),
        (list[int], [[1], [], (2, 3)], [[1.5], 1, ["a"]], "a list, each a whole number"),
    ],
)
def test_a_value_fits_its_type_or_the_type_is_named(hint, good, bad, wanted):
    for value in good:
        check_values("it", {"key": hint}, {"key": value})
    for value in bad:
        with pytest.raises(ConfigError) as raised:
            check_values("it", {"key": hint}, {"key": value}, "prefix.")
        assert str(raised.value) == f"prefix.key must be {wanted}, got {value!r}"


def test_an_unknown_name_is_said_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown option of it 'stepss'; did you mean 'steps'"):
        check_values("it", {"steps": int}, {"stepss": 3})
    with pytest.raises(ConfigError, match=r"it has no options, got a\.b"):
        check_values("it", {}, {"b": 3}, "a.")
    check_values("it", {}, {})
