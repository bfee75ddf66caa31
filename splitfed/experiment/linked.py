"""What linking is worth: all observations of one image taken together, linked by the lab's truth.

A client sends the same image in every epoch with fresh noise. Given which observations are of one image, their
log-likelihoods add up, for a candidate x and the front of each observation:

    log p(z, z₁ … z_k | x) = log p(z | front(x)) + α · Σᵢ log p(zᵢ | frontᵢ(x))

z is of the audit, whose front is known; zᵢ are of training, whose fronts are known roughly, so that they count α times.
The exponent β of the whole is chosen on the attacker's own images, seen through fronts that strayed
(`attacker.moving_front`). α is the best for the victims, for each score: an oracle's, as the links are, so that it is
never worse than the audit alone, which is α = 0.

An attacker does not know which belong together; docs/attacks.md says how often it can guess. This is therefore no
attack, and no headline, but what one would have that links better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from splitfed.attacker.held_front import HeldFront
from splitfed.attacker.moving_front import JUDGED_AT, as_in_training, between, strayed
from splitfed.attacker.protocol import front_path
from splitfed.attacks.auxiliary import BATCH, split_auxiliary
from splitfed.attacks.posterior_mean import EXPONENTS
from splitfed.experiment.context import CellContext
from splitfed.experiment.identification import Identification
from splitfed.federation.outcome import FederationResult
from splitfed.metrics.quality import psnr_db, ssim
from splitfed.metrics.reid import matched_hits
from splitfed.models.channel import joined, log_likelihood, take
from splitfed.records.linked import LinkedOracle
from splitfed.seeding import generator
from splitfed.types import Images, Observation, Phase
from splitfed.wire.observations import read_observations

VICTIMS = 500
"""Of the pool, at most."""
TUNED_ON = 200
"""The attacker's held-out images by which the likelihood's exponent is chosen, at most."""
SHARES = (0.0, 0.03, 0.1, 0.3, 1.0)
"""Candidates for α."""
EXPENSIVE_IMAGES = 1000
"""Of the attacker's, where the front is expensive to run."""
UNLIKELY = -1e30
"""Nats; a number, so that it can be added up and weighed."""
MOST_OBSERVATIONS = 32
"""Of an image, at most; the newest rounds first."""


@dataclass(frozen=True)
class Sight:
    """Activations that one front made.

    Attributes:
        held: the front as it is known, and what the defense does in the phase.
        strayed: a front that the attacker's own images may be seen through in place of the client's, which differs.
        victims: int64, (k,), whose they are: places in the pool, once for each time that one is seen.
        activation: (k, d).
    """

    held: HeldFront
    strayed: HeldFront
    victims: Tensor
    activation: Tensor

    @property
    def times(self) -> int:
        """How often each of the victims here is seen, rounded."""
        return round(len(self.victims) / max(len(torch.unique(self.victims)), 1))


@torch.no_grad()
def linked_oracle(
    context: CellContext,
    result: FederationResult,
    audited: Sequence[Observation],
    identified: Identification,
    auxiliary: Images,
) -> LinkedOracle | None:
    """What the victims of the pool leak together, and by their audit alone.

    None where the defense does not draw, or does not say by which law in both phases; and where no training stream
    stays with the fronts around it, as in a deployment.

    Args:
        context: the cell, before its folder is tidied.
        result: has the final front.
        audited: what was observed of the audit.
        identified: the pool.
        auxiliary: the attacker's images.
    """
    final = context.job.front()
    final.load_state_dict(result.front.state_dict())
    # the pool is in the order of clients: evenly spaced, so that all are among them
    chosen = torch.linspace(0, len(identified.rows) - 1, min(len(identified.rows), VICTIMS)).long()
    pool = {identified.rows[row]: place for place, row in enumerate(chosen.tolist())}
    held = HeldFront(final.eval(), context.job.defense())
    sights = [_sight(held, held, audited, context, pool), *_of_training(context, pool)]
    if len(sights) < 2 or any(sight.held.channel(auxiliary.pixels[:1]) is None for sight in sights):
        return None
    images = identified.images[chosen]
    in_clear = all(observation.labels is not None for observation in audited)
    own = auxiliary[:EXPENSIVE_IMAGES] if final.expensive else auxiliary
    alone, together = (_scored(seen, images, own, in_clear, context) for seen in (sights[:1], sights))
    seen = sum(len(sight.victims) for sight in sights)
    return LinkedOracle(
        observations=seen / len(images),
        n=len(images),
        **together,
        **{f"audit_{name}": value for name, value in alone.items()},
    )


def _scored(
    sights: Sequence[Sight], victims: Images, auxiliary: Images, in_clear: bool, context: CellContext
) -> dict[str, float]:
    """The posterior mean's PSNR and SSIM, and who is found; each at the α that does best."""
    knowledge = sights[0].held.knowledge(auxiliary, labels_in_clear=in_clear)
    split = split_auxiliary(knowledge, before=None)
    candidates, held_out = auxiliary[split.fit], auxiliary[split.validation[:TUNED_ON]]
    labels = victims.labels if in_clear else None
    own = _seen_as_often(sights, candidates, held_out, in_clear, context)
    scores, through = (_summed(sights, images, labels, len(victims)) for images in (candidates, victims))
    found = []
    for share in SHARES if len(sights) > 1 else SHARES[:1]:
        exponent = _exponent(own.at(share), candidates, held_out)
        made = _mean(exponent * scores.at(share), candidates).view_as(victims.pixels)
        hits = matched_hits(through.at(share), labels)
        each = psnr_db(made, victims.pixels), ssim(made, victims.pixels), hits
        found.append([float(value.double().mean()) for value in each])
    best = torch.tensor(found, dtype=torch.float64).max(dim=0).values.tolist()
    return dict(zip(("psnr_db", "ssim", "reid_matched"), best, strict=True))


class Summed(NamedTuple):
    """Log-likelihoods of what was seen, (n, M) each: of the audit, and of training together."""

    audit: Tensor
    training: Tensor

    def at(self, share: float) -> Tensor:
        """Training counts so much."""
        return self.audit + share * self.training


def _seen_as_often(
    sights: Sequence[Sight], candidates: Images, held_out: Images, in_clear: bool, context: CellContext
) -> Summed:
    """The attacker's own images, seen through fronts that strayed."""
    drawn = generator(context.cell.seed, "linked")
    labels = held_out.labels if in_clear else None
    sums = [torch.zeros(len(held_out), len(candidates)) for _ in range(2)]
    for number, sight in enumerate(sights):
        for _ in range(sight.times):
            sums[min(number, 1)] += _likelihood(sight.held, sight.strayed(held_out.pixels, drawn), labels, candidates)
    return Summed(*sums)


def _exponent(scores: Tensor, candidates: Images, held_out: Images) -> float:
    """β that does best on the attacker's own images."""

    def error(exponent: float) -> float:
        return float((_mean(exponent * scores, candidates) - held_out.pixels.flatten(1)).square().mean())

    best: float = min(EXPONENTS, key=error)
    return best


def _summed(sights: Sequence[Sight], images: Images, labels: Tensor | None, victims: int) -> Summed:
    """Of each victim's observations, for each of these images."""
    sums = [torch.zeros(victims, len(images)) for _ in range(2)]
    for number, sight in enumerate(sights):
        own = None if labels is None else labels[sight.victims]
        sums[min(number, 1)].index_add_(0, sight.victims, _likelihood(sight.held, sight.activation, own, images))
    return Summed(*sums)


def _likelihood(held: HeldFront, activation: Tensor, labels: Tensor | None, images: Images) -> Tensor:
    """log p(z | front(x)) in nats, (n, M); of images of another label than the activation's, `UNLIKELY`."""
    said = [held.channel(batch) for batch in torch.split(images.pixels, BATCH)]
    channel, rows = joined([each for each in said if each is not None]), activation.flatten(1).float()
    if labels is None:
        return log_likelihood(rows, channel)
    scores = torch.full((len(rows), len(images)), UNLIKELY)
    for label in torch.unique(labels):
        own, among = torch.nonzero(labels == label)[:, 0], torch.nonzero(images.labels == label)[:, 0]
        if len(among):
            scores[own[:, None], among] = log_likelihood(rows[own], take(channel, among))
    return scores


def _mean(scores: Tensor, candidates: Images) -> Tensor:
    """The mean of the candidates by their likelihoods, over all where none is of the label: rows (n, p)."""
    return torch.softmax(scores, dim=1) @ candidates.pixels.flatten(1)


def _of_training(context: CellContext, pool: dict[tuple[int, int, int, int], int]) -> list[Sight]:
    """The training streams that stay, newest first, by quarters of their rounds."""
    sights: list[Sight] = []
    for number in range(context.audit_round - 1, 0, -1):
        fronts = [front_path(context.knowledge, at) for at in (number, number + 1)]
        seen = list(read_observations(context.observations, round=number, phase=Phase.TRAIN))
        if not seen or not all(path.exists() for path in fronts):
            continue
        before, after = (torch.load(path, weights_only=True) for path in fronts)
        for share, part in _quarters(seen):
            drawn = generator(context.cell.seed, "linked-stray", number, int(100 * share))
            states = between(before, after, share), strayed(context.job.front(), before, after, share, drawn)
            known, own = (
                HeldFront(as_in_training(context.job.front(), state), context.job.defense(), Phase.TRAIN)
                for state in states
            )
            sights.append(_sight(known, own, part, context, pool))
    of_pool = [sight for sight in sights if len(sight.victims)]
    so_far = np.cumsum([len(sight.victims) for sight in of_pool]).tolist()
    return [sight for sight, count in zip(of_pool, so_far, strict=True) if count <= MOST_OBSERVATIONS * len(pool)]


def _quarters(seen: Sequence[Observation]) -> Iterator[tuple[float, list[Observation]]]:
    """The steps of a round by the quarter in which they are, each with its middle's share of the way."""
    steps = max(observation.step for observation in seen) + 1
    for number, share in enumerate(JUDGED_AT):
        part = [each for each in seen if each.step * len(JUDGED_AT) // steps == number]
        if part:
            yield share, part


def _sight(
    held: HeldFront,
    strayed_front: HeldFront,
    seen: Sequence[Observation],
    context: CellContext,
    pool: dict[tuple[int, int, int, int], int],
) -> Sight:
    """What of this is of the pool."""
    index = np.concatenate([observation.index() for observation in seen])
    activation = torch.cat([observation.activation for observation in seen])
    truth = context.truth
    own = np.flatnonzero(truth.private(index))
    rows = map(tuple, truth.audited(index[own]).tolist())
    places = np.array([pool.get((a, b, c, d), -1) for a, b, c, d in rows], np.int64)
    known = places >= 0
    return Sight(held, strayed_front, torch.from_numpy(places[known]), activation[torch.from_numpy(own[known])])
