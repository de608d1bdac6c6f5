import pytest
from omegaconf import OmegaConf

from narrows.errors import ConfigError
from narrows.runs.overrides import (
    explain,
    nested_overrides,
    parse_overrides,
    plain_overrides,
    refuse_repeated,
)


def test_keys_have_dots_and_values_are_yaml():
    given = ["a.b=1", "a.c=[1,2.5]", "d=text", "e=true", "a.f=null", "g=x=y"]
    expected = {"a": {"b": 1, "c": [1, 2.5], "f": None}, "d": "text", "e": True, "g": "x=y"}
    assert OmegaConf.to_container(parse_overrides(given)) == expected
    assert OmegaConf.to_container(parse_overrides([])) == {}


def test_the_last_of_equal_keys_counts():
    assert parse_overrides(["a=1", "a=2"]).a == 2


@pytest.mark.parametrize("text", ["a", "", "=3", "=", "a=[1", "a={b: ", "a='x", "a=\t- x: y: z"])
def test_what_is_not_key_and_value_is_said_in_one_line(text):
    with pytest.raises(ConfigError) as raised:
        parse_overrides(["b=1", text])
    assert repr(text) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_error_is_explained_by_its_key():
    class Error(Exception):
        full_key = "a.b"

    assert (
        explain(Error("Value 'x' is wrong\n  full_key: a.b\n  more")) == "a.b: Value 'x' is wrong"
    )
    error = Error("Key 'a' not in 'RunConfig'")
    error.full_key = ""
    assert explain(error) == "Key 'a' not in 'RunConfig'"


def test_plain_overrides_have_nothing_left_to_resolve():
    assert plain_overrides(["a=[1, 2]", "b.c=${a}"]) == {"a": [1, 2], "b": {"c": [1, 2]}}
    for text, message in (
        ("steps=${nope}", "steps: Interpolation key 'nope' not found"),
        ("steps=${oc.env:NO_SUCH_NAME}", "steps: "),
        ("steps=???", "steps: Missing mandatory value: steps"),
    ):
        with pytest.raises(ConfigError) as raised:
            plain_overrides([text])
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_setting_may_be_given_once():
    values = {"seeds": 2, "network": {"name": "mlp"}, "evaluate": {"eps": [0.1]}}
    for text in ("train.epochs=3", "network.encoder=[8]", "evaluate.pgd_steps=2", "options={}"):
        refuse_repeated(values, nested_overrides([text]))
    for text in ("seeds=2", "network.name=cnn", "network={name: cnn}", "evaluate.eps=[0.2]",
                 "evaluate=null", "seeds=???"):  # fmt: skip
        key = text.split("=")[0]
        with pytest.raises(ConfigError, match=f"{key}.* is given twice"):
            refuse_repeated(values, nested_overrides(["train.epochs=1", text]))
