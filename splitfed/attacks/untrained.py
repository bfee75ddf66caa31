"""The control that was never trained: the score that an evaluation gets if it forgets to train its attack."""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.attacks.base import Progress
from splitfed.attacks.decoder import DecoderOptions, new_residual
from splitfed.attacks.inverter import Inverter, Target
from splitfed.attacks.seen import Seen, one_hot
from splitfed.attacks.whitening import fit_whitening


class Untrained(Inverter):
    """The decoder's network with random weights and no ridge beneath it.

    Any defense looks strong against it. Scores like its own, about those of the mean image or worse, tell
    nothing about a defense.
    """

    name = "untrained"
    about = "control: the decoder's network, never trained"
    adaptivity = "nothing, it is a control"
    is_control = True
    Options = DecoderOptions
    options: DecoderOptions

    def advance(self) -> Progress:
        target = self._begun
        self._epochs += 1
        return Progress(
            epoch=self._epochs,
            train_loss=self._loss_on(target.fit, self._predict),
            validation_loss=self._loss_on(target.validation, self._predict),
            plateaued=True,
            finished=True,
        )

    def _start(self, target: Target) -> float:
        self._whiten = fit_whitening(target.fit.features)
        self._network = new_residual(target, self.options, outputs=target.auxiliary.shape.pixels).requires_grad_(False)
        self._plateaued = True
        return self._loss_on(target.fit, self._predict)

    def _predict(self, seen: Seen) -> Tensor:
        inputs = [self._whiten(seen.features), one_hot(seen.labels, self._begun.auxiliary.classes)]
        result: Tensor = self._network(torch.cat(inputs, dim=1))
        return result

    def _parameters_moved(self) -> bool:
        return False
