"""`narrows reevaluate`: every model of a run, once."""

from narrows.experiments.reevaluation import StoredReevaluation
from narrows.runs.files import read_json
from scenarios_runs import copied, narrows, refused


def test_a_run_is_evaluated_again_with_restarts(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    words = ["reevaluate", run.path, "--images", 5, "--betas", "0,0.1"]
    code, out, err = narrows(capsys, *words)
    assert (code, err) == (0, "")
    assert "cross_entropy, 2 models: 32/32" in out
    assert "vib, 2 models: 64/64" in out
    page = run.path / "reevaluation" / "reevaluation.html"
    assert out.splitlines()[-1] == f"Report: {page}"
    assert "The first 5 test images of digits, Linf." in page.read_text()
    files = sorted(path.name for path in (run.path / "reevaluation").glob("*.json"))
    assert files == [
        *(f"cross_entropy-0.0-{seed}.json" for seed in (0, 1)),
        *(f"vib-0.1-{seed}.json" for seed in (0, 1)),
    ]
    for name in files:
        path = run.path / "reevaluation" / name
        rows = read_json(path, "re-evaluation of a model", StoredReevaluation).rows
        modes = {"mean", "sample"} if name.startswith("vib") else {"deterministic"}
        assert {row.mode for row in rows} == modes
        for mode in modes:
            for eps in (0.1, 0.2):
                left = [
                    row.accuracy
                    for row in rows
                    if (row.mode, row.attack, row.eps) == (mode, "pgd", eps)
                ]
                assert left == sorted(left, reverse=True)
    code, out, _ = narrows(capsys, *words, "--png")
    assert "/16" not in out
    pictures = [run.path / "reevaluation" / f"reevaluation-{i}.png" for i in (1, 2, 3)]
    assert out.splitlines() == [*(f"Picture: {path}" for path in pictures), f"Report: {page}"]


def test_what_is_not_in_the_run_is_one_line(small_run, capsys):
    assert "0.1" in refused(capsys, "reevaluate", small_run.path, "--betas", "3")
    assert "valid: cross_entropy, vib" in refused(
        capsys, "reevaluate", small_run.path, "--methods", "aib"
    )
    assert not (small_run.path / "reevaluation").exists()
