"""The number of a column, from the records of a run or from an attack on its models."""

import pytest

from narrows.errors import ConfigError, StoreError
from narrows.reproduction.measures import MEASURES, Source, attack_folder, check_columns
from narrows.reproduction.tables import Column
from narrows.runs import Progress
from narrows.runs.evaluate import encode
from scenarios_runs import copied


@pytest.fixture
def source(small_run, tmp_path):
    return Source(copied(small_run, tmp_path), "cpu", 0, Progress())


def vib(source):
    return source.run.member("vib", 0.1, 0)


def measured(source, column, member=None):
    return MEASURES[column.measure](source, member or vib(source), column)


def test_accuracies_and_errors_are_those_of_the_records(source):
    record = source.record(vib(source))
    test = len(source.run.splits.test)
    for name, value in {
        "accuracy": record.accuracy.test,
        "error": 1 - record.accuracy.test,
        "sampled_accuracy": record.sampled_test_accuracy,
        "sampled_error": 1 - record.sampled_test_accuracy,
    }.items():
        found = measured(source, Column("x", name))
        assert (found.value, found.images) == (pytest.approx(100 * value), test)


def test_a_deterministic_model_has_one_error(source):
    plain = source.run.member("cross_entropy", None, 0)
    drawn = measured(source, Column("x", "sampled_error"), plain)
    assert drawn == measured(source, Column("x", "error"), plain)


def test_stored_attacks_are_found_by_name_and_radius(source):
    stored = {(a.attack, a.eps): a for a in source.record(vib(source)).attacks}
    eps = source.run.config.evaluate.eps[0]
    for name in ("fgsm", "pgd"):
        found = measured(source, Column("x", name, eps=eps))
        assert found.value == pytest.approx(100 * stored[name, eps].accuracy)
        assert found.images == stored[name, eps].images
    distance = measured(source, Column("x", "deepfool_mean"))
    assert (distance.value, distance.images) == (stored["deepfool", None].mean_distance, 0)
    with pytest.raises(StoreError, match=r"no record of fgsm at eps = 0\.77"):
        measured(source, Column("x", "fgsm", eps=0.77))


def test_an_attack_is_made_once_and_found_again(source, monkeypatch):
    column = Column("x", "attack", eps=0.1, attack="pgd", set=["steps=2"], images=12)
    first = measured(source, column)
    assert first.images == 12
    assert (attack_folder(source.run, vib(source), column, 12) / "record.json").exists()
    monkeypatch.setattr("narrows.attacks.PGD.perturb", None)
    assert measured(source, column) == first


def test_other_settings_of_an_attack_have_another_folder(source):
    columns = [
        Column("x", "attack", eps=0.1, attack="pgd"),
        Column("x", "attack", eps=0.2, attack="pgd"),
        Column("x", "attack", eps=0.1, attack="pgd", set=["steps=2"]),
        Column("x", "attack", eps=0.1, attack="pgd", towards="next"),
        Column("x", "attack", eps=0.1, attack="fgsm"),
    ]
    folders = {attack_folder(source.run, vib(source), column, 5) for column in columns}
    folders.add(attack_folder(source.run, vib(source), columns[0], 6))
    assert len(folders) == 6
    renamed = Column("y", "attack", eps=0.1, attack="pgd", unit="", tolerance=3.0)
    assert attack_folder(source.run, vib(source), renamed, 5) in folders


def test_a_search_for_the_smallest_perturbation_is_counted_within_a_radius(source):
    near = Column("x", "attack", attack="deepfool", radius=1e-6, images=20)
    far = Column("x", "attack", attack="deepfool", radius=1e6, images=20)
    plain = source.run.member("cross_entropy", None, 0)
    clean = measured(source, near, plain).value
    assert clean > 0
    assert measured(source, far, plain).value < clean
    distance = measured(source, Column("x", "distance", attack="deepfool", images=20), plain)
    assert distance.value >= 0


def test_active_units_are_those_that_are_not_zero(source):
    x = source.run.splits.test.batch(slice(0, 30)).x
    code = encode(source.run.model(vib(source)), x).mean
    found = measured(source, Column("x", "active_units", images=30))
    assert found.value == pytest.approx((code != 0).sum(1).double().mean().item())


def test_counts_of_classes_are_of_a_thousand_images(source):
    numbers = [
        measured(
            source,
            Column(
                "x", "taken_for", eps=0.1, whole=1000.0, images=0, set=[f"class={i}", "label=3"]
            ),
        ).value
        for i in range(10)
    ]
    assert sum(numbers) == pytest.approx(1000)


def test_one_attack_has_all_counts_of_a_table(source, monkeypatch):
    columns = [
        Column("x", "taken_for", eps=0.1, whole=1000.0, images=30, set=[f"class={i}", "label=3"])
        for i in (0, 1)
    ]
    first = measured(source, columns[0])
    monkeypatch.setattr("narrows.attacks.PGD.perturb", None)
    assert measured(source, columns[0]) == first
    assert measured(source, columns[1]).value >= 0


def test_the_reevaluation_is_read_by_mode_and_restarts(source):
    few = Source(source.run, "cpu", 6, source.progress)
    columns = [
        Column("x", "reevaluated", eps=0.2, attack="fgsm", mode="mean"),
        Column("x", "reevaluated", eps=0.2, attack="fgsm", mode="sample"),
        Column("x", "reevaluated", eps=0.2, attack="pgd", mode="sample", set=["restarts=50"]),
    ]
    for column in columns:
        found = measured(few, column)
        assert 0 <= found.value <= 100
        assert found.images == 6
    with pytest.raises(StoreError, match="has no z"):
        measured(few, Column("z", "reevaluated", eps=0.77, attack="fgsm"))


def test_errors_of_draws_are_those_of_the_figure(source):
    one = measured(source, Column("x", "shot_error", set=["shots=1"]))
    assert 0 <= one.value <= 100
    with pytest.raises(StoreError, match="the error of 7 draws was not measured"):
        measured(source, Column("x", "shot_error", set=["shots=7"]))


def test_an_unknown_measure_is_refused():
    check_columns([Column("x", "error")])
    with pytest.raises(ConfigError, match="column x: there is no measure 'errors'"):
        check_columns([Column("x", "errors")])
