from scenarios_runs import lone_folder, narrows, refused

TINY = ["--methods", "vib", "--betas", "0.1", "--seeds", "1", "--epochs", "1", "--set"]
TINY += ["evaluate.attack=false", "--set", "network.encoder=[8]"]


def test_a_run_of_what_it_prints_is_the_run_of_its_words(capsys, tmp_path):
    code, printed, err = narrows(capsys, "config", *TINY)
    assert (code, err) == (0, "")
    (tmp_path / "it.toml").write_text(printed)
    assert narrows(capsys, "run", "--quiet", "--out", tmp_path / "a", *TINY)[0] == 0
    assert narrows(capsys, "run", "--quiet", "--out", tmp_path / "b", tmp_path / "it.toml")[0] == 0
    first, second = (lone_folder(tmp_path / name) for name in "ab")
    assert first.name == second.name
    # The configuration of a run, printed, is that run too.
    stored = narrows(capsys, "config", first / "config.json")[1]
    assert stored.startswith('data = "digits"')
    assert "data_sha256" in stored
    (tmp_path / "it.toml").write_text(stored)
    kept = narrows(capsys, "run", "--out", tmp_path / "a", tmp_path / "it.toml")[1]
    assert "finished before, kept" in kept
    assert lone_folder(tmp_path / "a") == first


def test_what_run_refuses_it_refuses(capsys):
    assert "did you mean 'vib'" in refused(capsys, "config", "--methods", "vibb")
