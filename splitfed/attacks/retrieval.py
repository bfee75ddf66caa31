"""The control that reconstructs nothing: of the attacker's own images the one that fits the observation best."""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.attacks.base import Progress
from splitfed.attacks.candidates import Candidates, candidates
from splitfed.attacks.inverter import Inverter, Target
from splitfed.attacks.seen import Seen
from splitfed.options import Options


class RetrievalOptions(Options):
    """Retrieval has none."""


class Retrieval(Inverter):
    """x̂(z) = the image xⱼ of the label, out of the attacker's own, with the largest p(z | front(xⱼ)).

    It shows what looks like a reconstruction and holds nothing of the victim but its place among other people's
    images. An attack that scores like it may have done the same; images that nearly equal a victim's make it score
    high. The likelihood is that of `posterior_mean`, of which this is the limit of a large exponent.
    """

    name = "retrieval"
    about = "control: the image of its own that most likely gave the activation"
    adaptivity = "compares by the likelihood of the defense's noise, known or measured"
    is_control = True
    Options = RetrievalOptions
    options: RetrievalOptions
    _candidates: Candidates | None

    def advance(self) -> Progress:
        target = self._begun
        self._candidates = candidates(target, target.auxiliary.fit)
        self._epochs += 1
        self._plateaued = True
        loss = self._learned_loss()
        return Progress(self._epochs, loss, loss, plateaued=True, finished=True)

    def _start(self, target: Target) -> float:
        self._candidates = None
        return self._loss_on(target.validation, self._predict_start)

    def _learned_loss(self) -> float:
        """On the validation part: among the candidates each finds itself."""
        return self._loss_on(self._begun.validation, self._predict)

    def _predict(self, seen: Seen) -> Tensor:
        if self._candidates is None:
            return self._predict_start(seen)
        found = torch.empty(len(seen), self._candidates.images.shape[1])
        for places, of_class in self._candidates.by_class(seen, len(seen)):
            found[places] = of_class.images[of_class.scores(seen[places]).argmax(dim=1)]
        return found

    def _parameters_moved(self) -> bool:
        return self._candidates is not None
