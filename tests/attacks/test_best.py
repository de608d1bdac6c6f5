import math

import torch

from narrows.attacks._best import Best, StackBest

X = torch.arange(4.0)[:, None]


def offer(best, rows, x, values, fooled):
    best.offer(
        torch.tensor(rows), torch.tensor(x)[:, None], torch.tensor(values), torch.tensor(fooled)
    )


def planned(best, count, chunk):
    return [(rows.tolist(), numbers.tolist()) for rows, numbers in best.attempts(count, chunk)]


def test_before_any_attempt_the_images_themselves_are_the_best():
    x = X.clone()
    best = Best(x)
    assert best.x.tolist() == X.tolist()
    assert best.value.tolist() == [-math.inf] * 4
    assert best.fooled.tolist() == [False] * 4
    offer(best, [1], [9.0], [0.5], [False])
    assert x.tolist() == X.tolist()


def test_only_a_better_attempt_is_stored():
    best = Best(X)
    offer(best, [2, 0], [20.0, 10.0], [0.5, -0.5], [False, False])
    offer(best, [2, 0], [21.0, 11.0], [0.4, -0.4], [False, False])
    assert best.x[:, 0].tolist() == [11, 1, 20, 3]
    assert best.value.tolist() == [torch.tensor(-0.4).item(), -math.inf, 0.5, -math.inf]
    offer(best, [2], [22.0], [0.5], [False])
    assert best.x[2].item() == 20


def test_an_attempt_that_fools_beats_any_that_does_not():
    best = Best(X)
    offer(best, [1, 1], [10.0, 11.0], [100.0, -100.0], [False, True])
    assert best.x[1].item() == 11
    assert best.value[1].item() == math.inf
    assert best.fooled.tolist() == [False, True, False, False]
    offer(best, [1, 1], [12.0, 13.0], [1000.0, 1000.0], [False, True])
    assert best.x[1].item() == 11
    assert best.fooled[1]


def test_of_several_attempts_at_an_image_the_best_is_stored_and_of_equals_the_first():
    best = Best(X)
    offer(
        best, [3, 0, 3, 3, 3], [30.0, 0.5, 31.0, 32.0, 33.0], [1.0, 2.0, 4.0, 4.0, 3.0], [False] * 5
    )
    assert best.x[:, 0].tolist() == [0.5, 1, 2, 31]
    assert best.value.tolist() == [2, -math.inf, -math.inf, 4]


def test_images_that_are_fooled_are_attempted_no_more():
    best = Best(X)
    steps = best.attempts(3, 4)
    assert [part.tolist() for part in next(steps)] == [[0, 1, 2, 3], [0] * 4]
    offer(best, [0, 1, 3], [9.0, 9.0, 9.0], [0.0, 0.0, 0.0], [True, True, False])
    # Two images are left of a chunk of four, so both later attempts are made side by side.
    assert [part.tolist() for part in next(steps)] == [[2, 3, 2, 3], [1, 1, 2, 2]]
    assert next(steps, None) is None
    best.fooled[:] = True
    assert planned(best, 3, 4) == []


def test_attempts_fill_the_chunk_and_no_more():
    best = Best(X)
    assert planned(best, 4, 1) == [([0, 1, 2, 3], [number] * 4) for number in range(4)]
    assert planned(best, 4, 9) == [
        ([0, 1, 2, 3], [0] * 4),
        ([0, 1, 2, 3] * 2, [1] * 4 + [2] * 4),
        ([0, 1, 2, 3], [3] * 4),
    ]
    assert planned(best, 1, 100) == [([0, 1, 2, 3], [0] * 4)]
    assert planned(best, 0, 100) == []


def test_each_model_of_a_stack_has_the_plan_that_it_would_have_alone():
    owner = torch.tensor([0, 0, 0, 2])
    best = StackBest(X, owner)
    steps = best.attempts(4, 3)
    assert [part.tolist() for part in next(steps)] == [[0, 1, 2, 3], [0] * 4]
    best.fooled[1:3] = True
    # Three attempts at the one image left of either model fill its chunk.
    assert [part.tolist() for part in next(steps)] == [[0, 0, 0, 3, 3, 3], [1, 2, 3, 1, 2, 3]]
    assert next(steps, None) is None


def test_a_model_that_is_done_does_not_stop_the_others():
    best = StackBest(X, torch.tensor([0, 1, 1, 1]))
    best.fooled[0] = True
    assert planned(best, 2, 1) == [([1, 2, 3], [0] * 3), ([1, 2, 3], [1] * 3)]
    best.fooled[:] = True
    assert planned(best, 2, 1) == []
