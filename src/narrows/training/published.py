"""Published training settings, by name: `PUBLISHED["ib-rar"]`, or `settings = "ib-rar"` in a run.

| settings           | source                                                                      |
|--------------------|-----------------------------------------------------------------------------|
| vib                | Alemi et al. (2017), arXiv 1612.00410, and its published code (rate, beta1) |
| vib-cifar10        | Korshunova et al. (2021), arXiv 2107.05712, appendix                        |
| ceb-cifar10        | likewise                                                                    |
| aib                | Zhai & Zhang (2021), arXiv 2103.00381, section on experiments               |
| aib-relu           | no paper's: at this rate a ReLU latent makes AIB look robust to one step    |
| hbar-mnist         | Wang et al. (2021), arXiv 2106.02734                                        |
| hbar-cifar10       | likewise                                                                    |
| ib-rar             | Xu, Perin & Picek (2022), arXiv 2302.10896, as coded without attacks        |
| ib-rar-adversarial | likewise, its text, which is also as coded with adversarial training        |
| imb                | Nguyen & Choi (2017), arXiv 1712.01272, appendix, on MNIST                  |
| imb-cifar10        | likewise, on CIFAR-10                                                       |
| imb-as-coded       | its published code                                                          |

What the sources leave open, and what is chosen here:

- AIB: at most 60 epochs; the critic's rate is five times the model's, since at the model's own rate
  the encoder learns faster than the critic. `aib-relu` has ten times the paper's rate for both.
- VIB on CIFAR-10: the ramp is linear in the logarithm of beta, as it begins at 1e-8.
- IMB's text: batches of 100, 100 epochs, a rate of 1 for Adadelta and 0.01 for Adagrad, as their
  authors have them. IMB's code: 100 epochs.

IB-RAR's code crops and mirrors all its images. Where a mirrored image has another meaning, as with
digits, set train.augment to none.
"""

from __future__ import annotations

import math
from dataclasses import replace

from narrows.training.config import TrainConfig

__all__ = ["PUBLISHED"]

_KORSHUNOVA = TrainConfig(
    epochs=1000,
    batch_size=1024,
    learning_rate=0.012,
    decay=0.3,
    decay_every=250,
    augment="crop_flip",
    beta_scale="log",
)
_IB_RAR = TrainConfig(
    epochs=60,
    batch_size=100,
    learning_rate=0.01,
    decay=0.2,
    decay_every=20,
    optimiser="sgd",
    augment="crop_flip",
)

PUBLISHED: dict[str, TrainConfig] = {
    "vib": TrainConfig(
        epochs=200,
        batch_size=100,
        learning_rate=1e-4,
        adam_beta1=0.5,
        decay=0.97,
        decay_every=2,
        averaging=0.999,
    ),
    "vib-cifar10": replace(_KORSHUNOVA, beta_start=1e-8, beta_ramp=100),
    "ceb-cifar10": replace(_KORSHUNOVA, beta_start=math.exp(-100), beta_ramp=4),
    "aib": TrainConfig(
        epochs=60, batch_size=256, learning_rate=2e-4, patience=20, critic_learning_rate=1e-3
    ),
    "aib-relu": TrainConfig(
        epochs=25, batch_size=256, learning_rate=2e-3, critic_learning_rate=2e-3
    ),
    "hbar-mnist": TrainConfig(epochs=100, batch_size=256, learning_rate=1e-4),
    "hbar-cifar10": TrainConfig(epochs=300, batch_size=128, learning_rate=0.01, schedule="cosine"),
    "ib-rar": replace(_IB_RAR, momentum=0.9),
    "ib-rar-adversarial": replace(_IB_RAR, weight_decay=1e-2),
    "imb": TrainConfig(epochs=100, batch_size=100, learning_rate=1.0, optimiser="adadelta"),
    "imb-cifar10": TrainConfig(epochs=100, batch_size=100, learning_rate=0.01, optimiser="adagrad"),
    "imb-as-coded": TrainConfig(
        epochs=100,
        batch_size=16,
        learning_rate=0.01,
        optimiser="adamax",
        clip_norm=5.0,
        patience=20,
    ),
}
