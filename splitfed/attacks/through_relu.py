"""The estimate for fronts that draw nothing: units that are on are equations (`splitfed.attacks.local_gaussian`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitfed.attacks.augmentation import augment
from splitfed.attacks.auxiliary import BATCH, others_than
from splitfed.attacks.candidates import FEWEST_OF_CLASS
from splitfed.attacks.inverter import Target
from splitfed.attacks.local_gaussian import ClassPrior, Settings, class_prior
from splitfed.attacks.seen import Seen
from splitfed.attacks.sparse import first_sparse_layer
from splitfed.attacks.standardization import pixels_of, standardized
from splitfed.types import ImageShape, Knowledge

AFFINE_ERROR = 1e-3
"""Of the largest |u|: a front that is this close to its affine map is taken to be it."""
PROBED = 64
"""Images on which that is tried."""


@dataclass(frozen=True)
class Examples:
    """Images that a prior is made of: the fit part, then its mirrored and shifted copies in the same order.

    Attributes:
        targets: what is estimated of each, (M, q).
        outputs: u, (M, d).
        labels: (M,).
        own: how many of them are images as they are.
    """

    targets: Tensor
    outputs: Tensor
    labels: Tensor
    own: int

    def without(self, places: Tensor) -> Examples:
        """Those that are neither at these positions of the fit part, (m,), nor copies of images that are."""
        kept = others_than(places, self.own)
        copies = len(self.labels) // self.own
        every = torch.cat([kept + copy * self.own for copy in range(copies)])
        return Examples(self.targets[every], self.outputs[every], self.labels[every], len(kept))

    def priors(self, everyone: int, affine: Tensor | None) -> dict[int, ClassPrior]:
        """By label, of the classes with enough images; at ``everyone``, that of all. ``affine`` as in `class_prior`."""
        priors = {everyone: class_prior(self.targets, self.outputs, self.own, affine)}
        for label in torch.unique(self.labels).tolist():
            places = self.labels == label
            number = int(places[: self.own].sum())
            if number >= FEWEST_OF_CLASS:
                priors[label] = class_prior(self.targets[places], self.outputs[places], number, affine)
        return priors


@dataclass(frozen=True)
class ThroughRelu:
    """What is known of a front that draws nothing, for each class.

    Attributes:
        examples: what the priors are made of.
        priors: by label; the last one is of all classes, for those with few images.
        bounded: whether z = max(u, 0), so that what is off says u ≤ 0; else z = u.
        codes: whether targets are standardized images with their moments, since the front standardizes them.
        affine: u = x·Wᵀ + b as W (d, p) and b (d,); None where it is not.
        batch: activations that are solved for at a time.
    """

    examples: Examples
    priors: dict[int, ClassPrior]
    bounded: bool
    codes: bool
    affine: tuple[Tensor, Tensor] | None
    batch: int

    def __call__(self, seen: Seen, settings: Settings) -> Tensor:
        """Pixels as rows (n, p)."""
        images: Tensor | None = None
        for places, prior in self._by_class(seen):
            made = self.pixels(self._estimate(prior, seen.rows[places], settings))
            images = made.new_empty(len(seen), made.shape[1]) if images is None else images
            images[places] = made
        assert images is not None
        return images

    def without(self, places: Tensor) -> ThroughRelu:
        """The same with priors of other images than those at these positions of the fit part."""
        others = self.examples.without(places)
        weight = self.affine[0] if self.affine is not None else None
        return replace(self, examples=others, priors=others.priors(max(self.priors), weight))

    def pixels(self, targets: Tensor) -> Tensor:
        """Targets (n, q) as pixels in [0, 1], (n, p)."""
        return (pixels_of(targets) if self.codes else targets).clamp(0, 1)

    def _by_class(self, seen: Seen) -> Iterator[tuple[Tensor, ClassPrior]]:
        everyone = max(self.priors)
        for label in torch.unique(seen.labels).tolist():
            prior = self.priors.get(label, self.priors[everyone])
            places = torch.nonzero(seen.labels == label)[:, 0]
            # those with about as many equations together: the largest system of a batch is the size of all
            order = torch.argsort((seen.rows[places] > 0).sum(dim=1), stable=True)
            for batch in torch.split(places[order], self.batch):
                yield batch, prior

    def _estimate(self, prior: ClassPrior, activation: Tensor, settings: Settings) -> Tensor:
        """From the whole class's prior to the nearest images of its estimate, and from these to what the units say."""
        on = activation > 0 if self.bounded else torch.ones_like(activation, dtype=torch.bool)
        first = prior.of_class(activation, on, settings.slack)
        first = first if self.codes else first.clamp(0, 1)
        if settings.neighbors >= len(prior.targets):
            return self._bounded(first, on, lambda equations: prior.of_class(activation, equations, settings.slack))
        nearest = torch.cdist(first, prior.targets).topk(settings.neighbors, largest=False).indices
        estimate = prior.near(nearest, activation, on, settings)
        return self._bounded(estimate, on, lambda equations: prior.near(nearest, activation, equations, settings))

    def _bounded(self, estimate: Tensor, on: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
        """The estimate again with the units at their bound that are off and for which it says u > 0."""
        if not self.bounded or self.affine is None:
            return estimate
        weight, offset = self.affine
        return solve(on | (estimate @ weight.T + offset > 0))


@torch.no_grad()
def through_relu(target: Target, *, copies: int, batch: int) -> ThroughRelu:
    """Learn the priors from the fit part and so many mirrored and shifted copies of it."""
    own, knowledge = target.auxiliary, target.knowledge
    pixels, labels = own.pixels[own.fit], own.labels[own.fit]
    every = [pixels, *(augment(pixels, target.generator) for _ in range(copies))]
    outputs = torch.cat([_outputs(knowledge, part) for part in every])
    affine = affine_map(knowledge, own.shape)
    codes = affine is None and first_sparse_layer(knowledge.front) is not None
    rows = torch.cat(every).flatten(1)
    targets = standardized(rows) if codes else rows
    examples = Examples(targets, outputs, labels.repeat(copies + 1), len(labels))
    priors = examples.priors(own.classes, affine[0] if affine is not None else None)
    return ThroughRelu(examples, priors, _is_bounded(knowledge, pixels[:1]), codes, affine, batch)


def affine_map(knowledge: Knowledge, shape: ImageShape) -> tuple[Tensor, Tensor] | None:
    """W (d, p) and b (d,) of u = W·x + b, found by asking about each pixel alone; None where u is not affine in the
    image, or where asking is expensive."""
    if knowledge.expensive:
        return None
    offset = _outputs(knowledge, torch.zeros(1, *shape))[0]
    columns = []
    for start in range(0, shape.pixels, BATCH):
        number = min(BATCH, shape.pixels - start)
        unit = torch.zeros(number, shape.pixels)
        unit[torch.arange(number), start + torch.arange(number)] = 1.0
        columns.append(_outputs(knowledge, unit.view(-1, *shape)) - offset)
    weight = torch.cat(columns).T.contiguous()
    pixels = knowledge.auxiliary.pixels[:PROBED]
    outputs = _outputs(knowledge, pixels)
    error = (pixels.flatten(1) @ weight.T + offset - outputs).abs().max()
    return (weight, offset) if float(error) <= AFFINE_ERROR * float(outputs.abs().max()) else None


@torch.no_grad()
def _outputs(knowledge: Knowledge, pixels: Tensor) -> Tensor:
    """u of images, (B, d): what the last ReLU gets, or what is sent where there is none."""
    parts = []
    for batch in torch.split(pixels, BATCH):
        before = knowledge.pre_activation(batch)
        parts.append((knowledge.expected(batch) if before is None else before).flatten(1).float())
    return torch.cat(parts)


@torch.no_grad()
def _is_bounded(knowledge: Knowledge, pixels: Tensor) -> bool:
    return knowledge.pre_activation(pixels) is not None
