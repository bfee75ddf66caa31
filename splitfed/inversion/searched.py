"""What an inversion tells while it runs, and what it has in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from splitfed.inversion.oracle import Access

Stage = Literal["pool", "distillation", "search", "final"]


@dataclass(frozen=True)
class InversionMoment:
    """How far an inversion has come.

    Attributes:
        stage: the pool is asked about, a surrogate is taught, latents are searched, or the final images are chosen.
        label: the class that is searched for; None where it is for all.
        done: units of this stage that are done, from 0: latents of the pool, steps of a class.
        total: of how many.
        images: the first few of the class's candidates as they are now, (n, C, H, W), each in its place from moment to
            moment; None where there is nothing new to show.
        confidence: in the class, mean over the candidates that were worked on, as the attacker sees it; None where it
            sees none.
        asked: images that the classifier was asked about so far.
    """

    stage: Stage
    label: int | None
    done: int
    total: int
    images: Tensor | None
    confidence: float | None
    asked: int


OnMoment = Callable[[InversionMoment], None]


@dataclass(frozen=True)
class ClassFindings:
    """What was found for one class. All images are float32, (n, C, H, W), in [0, 1].

    Attributes:
        label: the class.
        images: the final ones, best first.
        latents: theirs, (n, ...).
        confidence: what they were chosen by, (n,): the mean over random transforms, or, where the budget did not reach
            so far, what the search gave last.
        judged: whether it is the former.
        starts: as many images after the initial selection alone, best first.
        random: as many random samples of the prior.
        moved: by how much the latents of the candidates differ from their starts, root mean square over coordinates, in
            units of the prior's spread.
    """

    label: int
    images: Tensor
    latents: Tensor
    confidence: Tensor
    judged: bool
    starts: Tensor
    random: Tensor
    moved: float


@dataclass(frozen=True)
class ClassInversion:
    """What an attack found.

    Attributes:
        access: what the classifier answered.
        classes: the findings, in the order in which they were asked for.
        asked: images that the classifier was asked about.
        exhausted: the message of the budget's end; empty where it sufficed.
    """

    access: Access
    classes: tuple[ClassFindings, ...]
    asked: int
    exhausted: str = ""
