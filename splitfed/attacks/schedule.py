"""When to learn more slowly, and when to stop."""

from __future__ import annotations

import torch

PATIENCE_EPOCHS = 3
"""Epochs without a gain before the learning rate falls."""
LEAST_GAIN = 1e-3
"""A validation loss that falls by less has not fallen; in the decoder's loss this is 0.01 dB, or 0.001 in SSIM."""
DECAY = 0.4
DECAYS = 4
"""After this many, an epoch without gain for `PATIENCE_EPOCHS` is the plateau."""
WARM_UP_EPOCHS = 2
"""In the first epochs the learning rate rises: Adam's estimates are rough, and a bad start is not made up for."""
ANNEALED_SHARE = 0.4
"""The last share of the epochs in which the learning rate falls to zero, plateau or not."""


UNLIMITED_EPOCHS = 10_000
"""A cap that no training reaches: its plateau comes long before."""


class Schedule:
    """Learning rate of one training: it falls at each plateau of the validation loss, and toward the cap.

    ``start_loss`` is the validation loss before the first epoch, which is to be beaten.

    Attributes:
        plateaued: the validation loss no longer falls, whatever the learning rate.
        finished: plateaued, or the cap on epochs is reached.
    """

    def __init__(self, learning_rate: float, max_epochs: int, *, start_loss: float) -> None:
        self.plateaued = False
        self._learning_rate = learning_rate
        self._max_epochs = max_epochs
        self._epoch = 0
        self._decays = 0
        self._waited = 0
        self._reference = self._least = start_loss

    @property
    def finished(self) -> bool:
        return self.plateaued or self._epoch >= self._max_epochs

    def set_rate(self, optimizer: torch.optim.Optimizer, epoch_share: float = 1.0) -> None:
        """Give ``optimizer`` the learning rate of a step that ends when this share of the epoch, in (0, 1], is over."""
        left = max(0.0, 1 - self._epoch / self._max_epochs)
        rate = self._learning_rate * DECAY**self._decays * min(1.0, left / ANNEALED_SHARE)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self._epoch + epoch_share) / WARM_UP_EPOCHS)

    def judge(self, validation_loss: float) -> bool:
        """Take note of an epoch's validation loss; whether it is the least so far."""
        self._epoch += 1
        if validation_loss < self._reference - LEAST_GAIN:
            self._reference, self._waited = validation_loss, 0
        else:
            self._waited += 1
        if self._waited >= PATIENCE_EPOCHS:
            self._waited = 0
            self.plateaued = self.plateaued or self._decays == DECAYS
            self._decays = min(self._decays + 1, DECAYS)
        is_least = validation_loss < self._least
        self._least = min(self._least, validation_loss)
        return is_least
