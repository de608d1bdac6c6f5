from narrows.runs.files import locked_folder
from narrows.stored.pruning import delete_runs, size_of


def test_runs_are_deleted_unless_a_process_writes_to_them(tmp_path):
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        (folder / "vib").mkdir(parents=True)
        (folder / "vib" / "weights").write_bytes(b"12345")
    assert size_of(folders) == 10
    with locked_folder(folders[1]):
        assert delete_runs(folders) == folders[1:]
    assert [folder.exists() for folder in folders] == [False, True]
    assert delete_runs(folders[1:]) == []
    assert not folders[1].exists()
