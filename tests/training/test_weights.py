import pytest
import torch

from narrows.training.weights import BestWeights, WeightAverage


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_is_the_weighted_mean_of_all_steps(decay):
    history = [torch.randn(3, 2, dtype=torch.float64) for _ in range(7)]
    average = WeightAverage({"w": history[0]}, decay)
    for step, weights in enumerate(history, start=1):
        average.update({"w": weights})
        importance = [decay ** (step - 1 - i) for i in range(step)]
        expected = sum(a * w for a, w in zip(importance, history, strict=False)) / sum(importance)
        torch.testing.assert_close(average.applied({"w": weights}, step)["w"], expected)


def test_counters_are_not_averaged():
    live = {"w": torch.ones(2), "seen": torch.tensor([4, 4])}
    average = WeightAverage(live, 0.9)
    average.update(live)
    applied = average.applied({"w": torch.zeros(2), "seen": torch.tensor([5, 5])}, 1)
    assert applied["seen"].tolist() == [5, 5]
    torch.testing.assert_close(applied["w"], torch.ones(2))


def test_without_a_decay_nothing_is_kept():
    average = WeightAverage({"w": torch.ones(2)}, 0.0)
    average.update({"w": torch.ones(2)})
    assert average.sums == {}
    live = {"w": torch.zeros(2)}
    assert average.applied(live, 3)["w"] is live["w"]


def test_each_member_keeps_the_weights_of_its_own_best_epoch():
    best = BestWeights({"w": torch.zeros(3, 2)}, count=3)
    accuracies = [[0.5, 0.1, 0.0], [0.4, 0.3, 0.0], [0.6, 0.3, 0.0]]
    for epoch, accuracy in enumerate(accuracies):
        weights = torch.full((3, 2), float(epoch + 1))
        best.offer({"w": weights}, torch.tensor(accuracy, dtype=torch.float64), epoch)
    assert best.epoch.tolist() == [2, 1, 0]  # the first of equal ones
    assert best.accuracy.tolist() == [0.6, 0.3, 0.0]
    assert best.tensors["w"].tolist() == [[3.0, 3.0], [2.0, 2.0], [1.0, 1.0]]
