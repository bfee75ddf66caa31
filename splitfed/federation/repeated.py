"""What a tap has of a client's audit, beside what the client's images give when they are sent once more.

Whoever holds the images can judge it: the lab, where it holds all of them, or each client by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from splitfed.defenses.base import Figures, TapEvidence, TrainingPlan
from splitfed.federation.task import Task
from splitfed.types import Observation, Phase
from splitfed.wire.codec import CODECS

CHECKED_BATCHES = 16
"""How many tapped batches the gate `defense_acts` looks at."""
REPEATED_BATCHES = 2
"""How many tapped batches of each client the gate `held_front` has made once more."""

ROUNDING = 1e-4
"""By how much of its largest number a batch may differ when it is made once more."""


@torch.no_grad()
def tap_evidence(
    victim: Task, observations: Sequence[Observation], measures: Mapping[int, Figures], plan: TrainingPlan
) -> TapEvidence:
    """What was tapped of one client's audit, beside what its front gives for the same batches.

    Args:
        victim: a client's, with the final front in evaluation mode.
        observations: of its AUDIT stream, in the order of their steps, at least one.
        measures: what each client's defense measured, by the client's number.
        plan: how long each client trained.
    """
    codec = CODECS[victim.job.scenario.federation.codec]
    rows = [_rows(victim, observation) for observation in observations]
    clean = [codec.decode(codec.encode(victim.activation(Phase.AUDIT, r))) for r in rows]
    seen = victim.client.images.train[torch.cat(rows)]
    return TapEvidence(
        front=victim.front,
        pixels=seen.pixels,
        labels=seen.labels,
        clean=torch.cat(clean),
        tapped=torch.cat([o.activation for o in observations]),
        measures=[figures for _, figures in sorted(measures.items())],
        plan=plan,
    )


def not_reproduced(victim: Task, observations: Iterable[Observation]) -> list[str]:
    """Which of one client's tapped AUDIT batches are not what the front in `victim` and the defense make of its images.

    All is repeated, the draws of a randomized defense too, so that nothing but rounding may differ.
    """
    return [f"client {o.client}, step {o.step}" for o in observations if not _is_repeated(victim, o)]


def _is_repeated(victim: Task, observation: Observation) -> bool:
    rows = _rows(victim, observation)
    if int(rows.max()) >= len(victim.client.images.train):
        return False
    codec = CODECS[victim.job.scenario.federation.codec]
    again = codec.decode(codec.encode(victim.sent(Phase.AUDIT, observation.round, observation.step, rows)))
    if again.shape != observation.activation.shape:
        return False
    return float((again - observation.activation).abs().max()) <= ROUNDING * float(again.abs().max())


def _rows(victim: Task, observation: Observation) -> Tensor:
    """Which of the client's images a batch of an evaluation holds."""
    start = observation.step * victim.job.scenario.federation.batch_size
    return torch.arange(start, start + len(observation.activation))


def ends(observations: Sequence[Observation]) -> Sequence[Observation]:
    """Of one client's batches those that are made once more: the first and the last."""
    return observations[:: max(len(observations) - 1, 1)][:REPEATED_BATCHES]


def rows_seen(observations: Iterable[Observation], sent: Mapping[int, int]) -> int:
    """How many of the images that each client sent in the audit, by its number, were observed."""
    seen = Counter[int]()
    for observation in observations:
        seen[observation.client] += len(observation.activation)
    return sum(min(seen[client], images) for client, images in sent.items())


def payload_bytes_per_image(observations: Sequence[Observation], codec: str) -> float:
    """What this codec makes of the activation of one image, mean over these batches."""
    images = sum(len(observation.activation) for observation in observations)
    payload_bytes = sum(CODECS[codec].encode(observation.activation).nbytes for observation in observations)
    return payload_bytes / max(images, 1)
