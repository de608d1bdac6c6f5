import sys

import pytest

from narrows.errors import ConfigError
from narrows.user_code import UserFunction, is_user_function


def made(tmp_path, text):
    (tmp_path / "it.py").write_text(text)
    return UserFunction.parse(f"{tmp_path}/it.py:build", "--network")


def test_a_function_is_called_with_its_arguments_and_its_neighbours(tmp_path):
    (tmp_path / "beside_it.py").write_text("three = 3\n")
    function = made(
        tmp_path, "from beside_it import three\ndef build(a, b):\n    return a + b + three\n"
    )
    before = list(sys.path)
    assert function(1, 2) == 6
    assert sys.path == before
    assert len(function.source) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no function 'build'"),
        ("build = 3", "has no function 'build'"),
        ("def build(): return 1 / 0", "failed in line 1 with ZeroDivisionError"),
        ("def build(a): pass", "failed with TypeError"),
        ("def build(:", "failed with SyntaxError"),
        ("import sys; sys.exit(3)", "failed in line 1 with SystemExit"),
        ("import nothing_there", "failed in line 1 with ModuleNotFoundError"),
    ],
)
def test_a_file_that_fails_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        made(tmp_path, text)()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no file .*gone\.py"):
        UserFunction.parse(f"{tmp_path}/gone.py:build", "--network")
    assert not is_user_function("a.npz")
