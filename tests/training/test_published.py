"""Published settings: the numbers that were found to differ from the authors' own."""

from narrows.training.published import PUBLISHED


def test_hbar_trains_three_times_as_long_on_cifar10_as_on_mnist():
    assert (PUBLISHED["hbar-mnist"].epochs, PUBLISHED["hbar-cifar10"].epochs) == (100, 300)


def test_the_critic_of_aib_relu_learns_at_the_rate_of_the_model():
    settings = PUBLISHED["aib-relu"]
    assert (settings.learning_rate, settings.critic_learning_rate) == (2e-3, 2e-3)
    assert (settings.epochs, settings.batch_size, settings.patience) == (25, 256, 0)
    paper = PUBLISHED["aib"]
    assert (paper.learning_rate, paper.critic_learning_rate) == (2e-4, 1e-3)
