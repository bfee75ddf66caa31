"""Who is found again: one pool of victims over all clients, in which every attack and the front itself have to seek."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splitfed.defenses.base import Defense, TapEvidence
from splitfed.experiment.ideal import against_activations, against_channels, ideal_score
from splitfed.experiment.truth import Truth
from splitfed.metrics.gates import GateResult
from splitfed.metrics.ideal import IdealAttacker
from splitfed.metrics.ideal_gate import below_ideal
from splitfed.metrics.reid import ReidResult, chance_in_class, hits_among, matched_hits, no_better_than_chance
from splitfed.models.channel import joined, log_likelihood
from splitfed.records.ideal import IdealScore
from splitfed.records.results import AttackScore
from splitfed.seeding import generator
from splitfed.types import Channel, Images, Observation, Reconstruction

MATCHED = "matched"
"""Names, in place of an attack, that private images were found through the front."""
POOL = 1000
"""Victims among whom an original is sought, at most."""
BATCH = 256
"""Candidates that are sent through the front at a time."""
LEAST_SCALE = 1e-6
"""Of a measured noise."""

Row = tuple[int, int, int, int]
"""An opaque index: round, client, step, row."""


@dataclass(frozen=True)
class Identification:
    """The pool, and who is found in it by his activation.

    Attributes:
        images: the candidates, which are the victims behind some observations.
        rows: the observation of each.
        found: whether each is found through the front, bool (N,).
        ideal: what nobody can exceed, in results and in figures for each image; None where the defense draws its noise
            by no known law.
    """

    images: Images
    rows: Sequence[Row]
    found: Tensor
    ideal: tuple[IdealScore, IdealAttacker] | None = None

    @property
    def matched(self) -> float:
        """The share that is found through the front."""
        return float(self.found.double().mean())

    @property
    def chance_in_class(self) -> float:
        """The rate of guessing among candidates of the same class."""
        return chance_in_class(self.images.labels)

    @property
    def silent(self) -> bool:
        """Whether the activations tell candidates apart no better than guessing does."""
        return no_better_than_chance(self.found, self.chance_in_class)

    def by_pixels(self, reconstruction: Reconstruction) -> ReidResult | None:
        """How often the reconstructions of observations in the pool are nearest to their own originals; None where
        there is none of them."""
        at, own = self._in_pool(reconstruction)
        if not len(own):
            return None
        hits = hits_among(reconstruction.images[at], self.images.pixels, own)
        return ReidResult(float(hits.double().mean()), 1 / len(self.rows), len(self.rows))

    def squared_errors(self, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """Places in the pool, int64 (n,), and the squared errors of their reconstructions, mean over pixels."""
        at, own = self._in_pool(reconstruction)
        made = reconstruction.images[at].double().clamp(0, 1)
        return own, (made - self.images.pixels[own]).square().flatten(1).mean(dim=1)

    def below_ideal(self, reconstructions: Mapping[str, Reconstruction]) -> GateResult | None:
        """Gate: nobody beats the ideal attacker; None where there is none to compare with.

        Args:
            reconstructions: of all attacks and controls, by name.
        """
        if self.ideal is None:
            return None
        hits, errors = {MATCHED: self.found}, {}
        for name, reconstruction in reconstructions.items():
            at, own = self._in_pool(reconstruction)
            if len(own):
                hits[name] = hits_among(reconstruction.images[at], self.images.pixels, own)
                errors[name] = self.squared_errors(reconstruction)
        return below_ideal(self.ideal[1], hits, errors)

    def _in_pool(self, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """Which of these reconstructions are of observations in the pool, and their places in it: int64, (n,) each."""
        places = {row: place for place, row in enumerate(self.rows)}
        asked = [(at, places[row]) for at, row in enumerate(_rows(reconstruction.index)) if row in places]
        at, own = torch.tensor(asked, dtype=torch.int64).reshape(-1, 2).T
        return at, own

    def headline(self, attacks: Mapping[str, AttackScore]) -> dict[str, Any]:
        """The keys of a `CellResult`: the larger of what any attack's pixels and the front give, and whose it is."""
        rates = {MATCHED: self.matched}
        rates |= {name: score.reid_top1 for name, score in attacks.items() if score.reid_top1 is not None}
        best = max(rates, key=rates.__getitem__)
        return {
            "reid": rates[best],
            "reid_by": best,
            "reid_matched": self.matched,
            "reid_chance_in_class": self.chance_in_class,
            "reid_pool": len(self.images),
            "ideal": self.ideal[0] if self.ideal is not None else None,
        }


def identify(
    observed: Sequence[Observation],
    reconstructions: Sequence[Reconstruction],
    truth: Truth,
    defense: Defense,
    evidence: TapEvidence,
) -> Identification:
    """Draw the pool, and seek each of its victims through the front.

    Observations that all attacks reconstructed come first, so that none of them is judged by a few; which ones is up
    to the seed.

    Args:
        observed: what was tapped of the final front, at least one batch.
        reconstructions: of all attacks.
        truth: who is behind which observation.
        defense: of the cell.
        evidence: has the final front, and what its noise is like.
    """
    index = np.concatenate([observation.index() for observation in observed])
    chosen = _pool(index, reconstructions, truth.job.cell.seed)
    images = truth.originals(index[chosen])
    activation = torch.cat([observation.activation for observation in observed]).flatten(1)[chosen]
    in_clear = all(observation.labels is not None for observation in observed)
    labels = images.labels if in_clear else None
    known, likeliest = _channel(images.pixels, defense, evidence)
    found = matched_hits(log_likelihood(activation.float(), likeliest), labels)
    if known is None and defense.randomized:
        return Identification(images, _rows(index[chosen]), found)
    if known is None:
        ideal = against_activations(activation, images.pixels, labels)
        score = ideal_score(ideal, images.pixels, labels)
    else:
        ideal = against_channels([known], images.pixels, labels, seed=truth.job.cell.seed)
        score = ideal_score(ideal, images.pixels, labels, [known])
    return Identification(images, _rows(index[chosen]), found, (score, ideal))


def _pool(index: np.ndarray, reconstructions: Sequence[Reconstruction], seed: int) -> np.ndarray:
    """Positions in ``index``: those that most attacks reconstructed, among equals by lot."""
    covered = Counter(row for made in reconstructions for row in _rows(made.index))
    times = np.array([covered[row] for row in _rows(index)])
    lots = torch.randperm(len(index), generator=generator(seed, "pool")).numpy()
    return np.sort(np.lexsort((lots, -times))[:POOL])


@torch.no_grad()
def _channel(pixels: Tensor, defense: Defense, evidence: TapEvidence) -> tuple[Channel | None, Channel]:
    """How what is sent for these images is distributed: as the defense says, None where it does not; and the same, or
    in its place as it was measured at the tap."""
    outputs = [evidence.front(batch) for batch in torch.split(pixels, BATCH)]
    said = [defense.channel(output) for output in outputs]
    known = [channel for channel in said if channel is not None]
    if len(known) == len(said):
        channel = joined(known)
        return channel, channel
    location = torch.cat([defense.expected(output).flatten(1) for output in outputs])
    # without noise any scale does: the nearest one is the likeliest
    scale = torch.ones(location.shape[1])
    if defense.randomized:
        noise = evidence.tapped.flatten(1) - defense.expected(evidence.clean).flatten(1)
        scale = noise.square().mean(dim=0).sqrt().clamp_min(LEAST_SCALE)
    return None, Channel("gaussian", location, scale.expand_as(location))


def _rows(index: np.ndarray) -> list[Row]:
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in index]
