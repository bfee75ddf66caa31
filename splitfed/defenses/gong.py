"""Two kinds of GAN-made images against model inversion (Gong, Wang, Chen, Feng, Wang and Zhu 2023, "A GAN-Based Defense
Framework Against Model Inversion Attacks", IEEE TIFS 18, DOI 10.1109/TIFS.2023.3295944).

The method changes how a network is trained, not what it answers: GAN-made fake samples join the training set, and the
loss of inversed samples is adjusted, so that misleading features come under each protected label. Only its abstract is
openly available; what follows from it, and what had to be chosen for a client in split learning:

- The GAN. The original's fakes come from public images. A client here has none, so it trains a class-conditional GAN on
  its own images (`models.gan`), and "misleading" is what looks like another of its classes.
- The inversion. The client mounts it itself, before its first round, against a small classifier of its own images: it
  does not hold the back, and a surrogate is also what an attacker would have. It searches the GAN's latents
  (`models.inversion`).
- The first kind, *decoys*: the generator is told to draw another class, its latent is searched until the classifier
  says the protected label, and the image is trained on under that label. It looks like one class and counts as another.
  Their loss is the network's own, at the server. Which other class is drawn at random, one per image, so that no class
  becomes the decoy of all.
- The second kind, *inversed samples*: the generator draws the protected class itself, and the latent is searched for
  what an inversion finds. Their loss is adjusted: the front shall give for them what it gives for the decoys of the
  same label, 1 − cosine similarity of the two activations. It is on the activations, since these are what the client
  computes and what leaks; on their directions, since a distance would be made small by small activations, which leak
  as much.
- Weights. Decoys are as many as the client's own images (`per_real`), each with the weight of a real one. The adjusted
  loss is added to the cross-entropy with weight 1 (`misleading_weight`).
- Protected labels: all classes; the choice of a few is the defender's in the original.

A client with images of one class has no other class to draw: both kinds are then of that class, and mislead no one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from splitfed.defenses.base import Figures, TapEvidence, TrainingBatch, trainable
from splitfed.defenses.gan import GanDefense, GanOptions, repeated
from splitfed.metrics.findings import Finding, regularizer_acts
from splitfed.models.gan import TrainedGan
from splitfed.models.inversion import agreement, invert, train_classifier
from splitfed.types import Images

CLASSIFIER_EPOCHS = 10
"""Passes over the client's images for the classifier that is inverted."""

PAIRS_PER_CLASS = 32
"""Inversed samples of each class, each beside a decoy."""


class GongOptions(GanOptions):
    """Options of `Gong`; `per_real` counts the decoys."""

    inversion_steps: int = Field(default=40, ge=1)
    """Steps of the search for each latent. Some decoys stay with the class that they look like; the measure
    `decoys_accepted` says how many do not."""
    misleading_weight: float = Field(default=1.0, gt=0)
    """Of the adjusted loss, which lies in [0, 1] for activations of a ReLU, beside the cross-entropy, in nats."""


@dataclass(frozen=True)
class DecoyPairs:
    """Inversed samples, each beside a decoy of the same label: `PAIRS_PER_CLASS` of each class, class by class.

    Attributes:
        classes: int64, (K,), the client's classes in ascending order.
        inversed: (K * `PAIRS_PER_CLASS`, ...), pixels or what a front's stem gives for them.
        decoys: like `inversed`.
    """

    classes: Tensor
    inversed: Tensor
    decoys: Tensor

    @property
    def labels(self) -> Tensor:
        """One per pair."""
        return self.classes.repeat_interleave(PAIRS_PER_CLASS)

    @torch.no_grad()
    def through(self, stem: nn.Module) -> DecoyPairs:
        """The same pairs behind a front's stem."""
        return DecoyPairs(self.classes, stem(self.inversed), stem(self.decoys))

    def of(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Inversed samples and decoys of these labels, another pair for each place in a batch."""
        place = torch.arange(len(labels)) % PAIRS_PER_CLASS
        rows = torch.searchsorted(self.classes, labels.contiguous()) * PAIRS_PER_CLASS + place
        return self.inversed[rows], self.decoys[rows]


@dataclass(frozen=True)
class InversionReport:
    """What the client's own inversion came to: shares of images, in [0, 1], that its classifier takes for the label.

    Attributes:
        decoys_accepted: of the decoys.
        random_accepted: of random images of the same other classes, before the search.
        inversed_accepted: of the inversed samples.
        own_accepted: of the client's own images.
    """

    decoys_accepted: float
    random_accepted: float
    inversed_accepted: float
    own_accepted: float


class Gong(GanDefense):
    """Decoys in the training set, and a loss that makes inversed samples look like decoys to the front."""

    name = "gong"
    about = "GAN-made decoys under each label, and inversed samples led astray"
    source = "Gong et al. 2023, DOI 10.1109/TIFS.2023.3295944"
    Options = GongOptions
    unchanged: ClassVar[tuple[str, ...]] = ("_pairs",)
    options: GongOptions

    def __init__(self, options: GongOptions) -> None:
        super().__init__(options)
        self._pairs: DecoyPairs | None = None
        self._inversion: InversionReport | None = None
        # of one round: the next may bring another stem, and measures anew
        self._stemmed: DecoyPairs | None = None
        self._gradient_norms: dict[str, float] = {}

    def generate(self, images: Images, generator: torch.Generator) -> Images:
        gan = self._train_gan(images, generator)
        search = _LatentSearch(images, gan, self.options.inversion_steps, generator)
        labels = repeated(images.labels, self.generated(len(images)), generator)
        decoys = search.decoys(labels)
        self._pairs = search.pairs()
        self._inversion = search.report(self._pairs)
        return Images(decoys, labels, images.classes)

    def regularizer(self, batch: TrainingBatch) -> Tensor | None:
        """The adjusted loss of the inversed samples, weighted. A pair for every other image: both halves of the pairs
        together cost as much as the batch itself."""
        if self._pairs is None:
            return None
        if self._stemmed is None:
            self._stemmed = self._pairs.through(batch.front.stem)
        loss = misleading_loss(batch.front.body, *self._stemmed.of(batch.labels[::2]))
        return self._term("misleading", self.options.misleading_weight * loss, batch)

    def _term(self, name: str, term: Tensor, batch: TrainingBatch) -> Tensor:
        """This term; the norm of its gradient in the round's first step is kept for `measures`."""
        if name not in self._gradient_norms:
            self._gradient_norms[name] = _gradient_norm(term, batch.front.body)
        return term

    def measures(self) -> Figures:
        """What the GAN and the inversion came to, and the norm of each term's gradient in the round's first step."""
        norms = {f"{name}_gradient_norm": norm for name, norm in self._gradient_norms.items()}
        return {**super().measures(), **(asdict(self._inversion) if self._inversion else {}), **norms}

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The GAN draws the classes, the inversion found what it sought, and the adjusted loss moves the front."""
        return [
            *super().findings(evidence),
            inversion_acts(evidence.measures),
            regularizer_acts(evidence.measures),
            term_acts("misleading", evidence.measures),
        ]


def misleading_loss(body: nn.Module, inversed: Tensor, decoys: Tensor) -> Tensor:
    """How far a front's body tells inversed samples from decoys of the same label: the mean of 1 − cosine similarity of
    the two activations, a scalar in [0, 2]."""
    of_inversed, of_decoys = body(torch.cat([inversed, decoys])).flatten(1).chunk(2)
    return (1 - F.cosine_similarity(of_inversed, of_decoys, dim=1)).mean()


def inversion_acts(measures: Sequence[Figures]) -> Finding:
    """Whether every client's classifier takes more decoys for their label than random images of the same other classes.

    A client with one class has no other: there, both are all of them.
    """
    shares = [(figures.get("random_accepted", 1.0), figures.get("decoys_accepted", 0.0)) for figures in measures]
    listed = ", ".join(f"{before:.1%} -> {after:.1%}" for before, after in shares) or "nothing measured"
    acts = bool(shares) and all(after > before or after == 1 for before, after in shares)
    return Finding(acts, f"decoys that the client's classifier takes for their label, by the search: {listed}")


def term_acts(name: str, measures: Sequence[Figures]) -> Finding:
    """Whether one of several terms has a gradient of its own at every client: another could hide that it has none."""
    norms = [figures.get(f"{name}_gradient_norm", 0.0) for figures in measures]
    listed = ", ".join(f"{norm:.3g}" for norm in norms) or "nothing measured"
    return Finding(bool(norms) and all(norm > 0 for norm in norms), f"gradient norm of the {name} term: {listed}")


def _gradient_norm(term: Tensor, body: nn.Module) -> float:
    if not term.requires_grad:
        return 0.0
    found = torch.autograd.grad(term, trainable(body), retain_graph=True, allow_unused=True)
    return float(nn.utils.get_total_norm([gradient for gradient in found if gradient is not None]))


class _LatentSearch:
    """One client's inversion of a classifier of its own images."""

    def __init__(self, images: Images, gan: TrainedGan, steps: int, generator: torch.Generator) -> None:
        self._images, self._gan, self._steps, self._generator = images, gan, steps, generator
        self._present = torch.unique(images.labels)
        self._classifier = train_classifier(images, epochs=CLASSIFIER_EPOCHS, generator=generator)

    def decoys(self, labels: Tensor, *, steps: int | None = None) -> Tensor:
        """Images of another class each that the classifier takes for these labels."""
        return self._invert(labels, self._others(labels), self._steps if steps is None else steps)

    def pairs(self) -> DecoyPairs:
        labels = self._present.repeat_interleave(PAIRS_PER_CLASS)
        return DecoyPairs(self._present, self._invert(labels, labels, self._steps), self.decoys(labels))

    def report(self, pairs: DecoyPairs) -> InversionReport:
        return InversionReport(
            decoys_accepted=agreement(self._classifier, pairs.decoys, pairs.labels),
            random_accepted=agreement(self._classifier, self.decoys(pairs.labels, steps=0), pairs.labels),
            inversed_accepted=agreement(self._classifier, pairs.inversed, pairs.labels),
            own_accepted=agreement(self._classifier, self._images.pixels, self._images.labels),
        )

    def _invert(self, labels: Tensor, condition: Tensor, steps: int) -> Tensor:
        return invert(self._classifier, self._gan, labels, condition, steps=steps, generator=self._generator)

    def _others(self, labels: Tensor) -> Tensor:
        """For each label another of the client's classes, drawn at random."""
        classes = len(self._present)
        if classes == 1:
            return labels
        step = torch.randint(1, classes, labels.shape, generator=self._generator)
        other: Tensor = self._present[(torch.searchsorted(self._present, labels) + step) % classes]
        return other
