import re
from pathlib import Path

from narrows.runs import Member, layout
from narrows.runs.layout import MethodFiles


def test_the_files_of_a_method_are_where_the_page_says():
    files = MethodFiles(Path("runs/digits-1/vib"))
    assert files.record(Member("vib", 0.1, 3)) == Path("runs/digits-1/vib/records/vib-0.1-3.json")
    named = {"checkpoint", "history", "models", "pictures", "failed", "done"}
    listed = set(re.findall(r"^ {8}(\w+)\.\w+", layout.__doc__ or "", flags=re.MULTILINE))
    assert listed == named
    for name in named:
        path = getattr(files, name)
        assert path.parent == files.folder
        assert path.stem == name
        assert f"        {path.name} " in (layout.__doc__ or "")


def test_betas_that_differ_in_their_last_bit_have_different_files():
    files = MethodFiles(Path("vib"))
    betas = [0.1, 0.1000000001, 0.10000000000000002, 1e-10, 1.0, 10.0]
    assert len({files.record(Member("vib", beta, 0)) for beta in betas}) == len(betas)
    assert files.record(Member("vib", 1, 0)) == files.record(Member("vib", 1.0, 0))
