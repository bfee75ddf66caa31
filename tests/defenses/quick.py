"""How the shared suite runs each defense in no time, and how it breaks it on purpose.

A defense that is not named here runs with its default options and is broken in every way that `breaks` can derive from
what it overrides. Add an entry where that is too slow or does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from splitfed.defenses import DEFENSES, Defense, gan, gong
from splitfed.defenses.base import TrainingBatch
from splitfed.defenses.dpsgd import DPSGD
from splitfed.defenses.laplace import Laplace
from splitfed.defenses.sparse_stem import SparseStemDefense
from splitfed.models.consolidation import Anchor
from splitfed.models.front import Front, FrontSpec
from splitfed.models.gan import train_gan
from splitfed.models.inversion import invert
from splitfed.models.sparse import SparseCodingLayer
from splitfed.types import Images, Phase

Break = Callable[[pytest.MonkeyPatch], None]
"""Spoils a defense for the length of a test."""


@dataclass(frozen=True)
class Quick:
    """One defense in the suite.

    Attributes:
        options: what makes it quick, and what it cannot do without.
        silent: phases in which it draws nothing, although it is randomized in others.
        broken: ways to break it by name; they come to those of `breaks`, or replace the one of their name.
        underived: names of derived ways that do not fit.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    silent: tuple[Phase, ...] = ()
    broken: Mapping[str, Break] = field(default_factory=dict)
    underived: tuple[str, ...] = ()


def unsolved(kind: type[Defense]) -> Break:
    """The sparse layers stop after one iteration."""
    build_front = kind.build_front

    def hasty(self: Defense, spec: FrontSpec, generator: torch.Generator) -> Front:
        front = build_front(self, spec, generator)
        for layer in front.modules():
            if isinstance(layer, SparseCodingLayer):
                layer.max_iterations = 1
        return front

    return lambda patch: patch.setattr(kind, "build_front", hasty)


def unlearned(patch: pytest.MonkeyPatch) -> None:
    """The first dictionary stays as it was drawn."""
    patch.setattr(SparseStemDefense, "prepare", Defense.prepare)


def mean_only(patch: pytest.MonkeyPatch) -> None:
    """The bottleneck sends its mean: the width is right, the noise is missing."""
    patch.setattr(DEFENSES["mid"], "protect", lambda self, output, *_: self.expected(output))


def off_the_sphere(patch: pytest.MonkeyPatch) -> None:
    """The bottleneck is not normalized, so that the noise is calibrated to nothing."""
    patch.setattr("splitfed.models.bottleneck_fronts.UnitNorm.forward", lambda _, vectors: vectors)


def layer_without_noise(patch: pytest.MonkeyPatch) -> None:
    """One layer of the stack does nothing."""
    patch.setattr(Laplace, "protect", Defense.protect)


HASTY_DICTIONARY = {"first_rounds": 1, "first_steps": 2}


def trains_as(*, clip: float, noise: float) -> Break:
    """DP-SGD clips and adds noise by this many times what it states."""
    backward = DPSGD.backward

    def other(self: DPSGD, *arguments: Any) -> None:
        multiplier = self.options.noise_multiplier * noise / clip  # of a noise that is counted in units of the clip
        changed = {"clip": self.options.clip * clip, "noise_multiplier": multiplier}
        weaker = DPSGD(self.options.model_copy(update=changed))
        weaker._tally = self._tally
        backward(weaker, *arguments)

    return lambda patch: patch.setattr(DPSGD, "backward", other)


def untrained(patch: pytest.MonkeyPatch) -> None:
    """The GAN draws what it drew at random before its training."""
    patch.setattr(gan, "train_gan", lambda images, *, generator, **_: train_gan(images, epochs=0, generator=generator))


def without_search(patch: pytest.MonkeyPatch) -> None:
    """The decoys and the inversed samples are random images of the GAN."""
    patch.setattr(gong, "invert", lambda *networks, generator, **_: invert(*networks, steps=0, generator=generator))


def detached_loss(patch: pytest.MonkeyPatch) -> None:
    """The adjusted loss is a plain number; in gong++ the consolidation still has its gradient."""
    loss = gong.misleading_loss
    patch.setattr(gong, "misleading_loss", lambda *parts: loss(*parts).detach())


def detached_consolidation(patch: pytest.MonkeyPatch) -> None:
    """The consolidation is a plain number; the adjusted loss still has its gradient."""
    penalty = Anchor.regularizer
    patch.setattr(Anchor, "regularizer", lambda self, module: penalty(self, module).detach())


GONG_BROKEN: dict[str, Break] = {"untrained": untrained, "search": without_search, "misleading": detached_loss}

QUICK: dict[str, Quick] = {
    "gan": Quick(options={"epochs": 12}, broken={"untrained": untrained}),
    "gong": Quick(options={"epochs": 12, "inversion_steps": 10}, broken=GONG_BROKEN),
    "gong++": Quick(
        options={"epochs": 12, "inversion_steps": 10},
        broken={**GONG_BROKEN, "consolidation": detached_consolidation},
    ),
    "dpsgd": Quick(
        options={"clip": 0.1},  # which the digits' gradients exceed from the first step on
        broken={"unclipped": trains_as(clip=100, noise=1), "little noise": trains_as(clip=1, noise=0.9)},
    ),
    "gaussian": Quick(silent=(Phase.TRAIN,)),
    "mid": Quick(broken={"protect": mean_only}),
    "sca": Quick(HASTY_DICTIONARY, broken={"unsolved": unsolved(DEFENSES["sca"]), "unlearned": unlearned}),
    "sca_noise": Quick(
        HASTY_DICTIONARY,
        broken={
            "unsolved": unsolved(DEFENSES["sca_noise"]),
            "unlearned": unlearned,
            "off the sphere": off_the_sphere,
        },
    ),
    "sparse_standard": Quick(
        HASTY_DICTIONARY, broken={"unsolved": unsolved(DEFENSES["sparse_standard"]), "unlearned": unlearned}
    ),
    "stack": Quick(
        {"layers": [{"name": "sca", **HASTY_DICTIONARY}, {"name": "laplace"}]},
        broken={"protect": layer_without_noise, "unsolved": unsolved(DEFENSES["stack"]), "unlearned": unlearned},
        underived=("regularizer", "generate", "backward"),
    ),
}


def quick(name: str) -> Quick:
    """The entry of this defense, an empty one by default."""
    return QUICK.get(name, Quick())


def breaks(name: str) -> dict[str, Break]:
    """Ways to break a defense: take from it, one by one, what it overrides; or have something else leave."""
    kind, entry = DEFENSES[name], quick(name)
    derived = {"protect" if _overrides(kind, "protect") else "altered output": _other_output(kind)}
    if _overrides(kind, "regularizer"):
        derived["regularizer"] = _detached(kind)
    if _overrides(kind, "generate"):
        derived["generate"] = _ungenerated(kind)
    if _overrides(kind, "backward"):
        derived["backward"] = lambda patch: patch.setattr(kind, "backward", Defense.backward)
    return {way: how for way, how in {**derived, **entry.broken}.items() if way not in entry.underived}


def _overrides(kind: type[Defense], method: str) -> bool:
    return getattr(kind, method) is not getattr(Defense, method)


def _other_output(kind: type[Defense]) -> Break:
    """Of a mechanism, nothing; where there should be none, a little."""

    def shifted(self: Defense, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:  # noqa: ARG001
        return output + 0.01

    protect = Defense.protect if _overrides(kind, "protect") else shifted
    return lambda patch: patch.setattr(kind, "protect", protect)


def _detached(kind: type[Defense]) -> Break:
    """The published mistake: the extra term enters the loss as a plain number."""
    penalty = kind.regularizer

    def number(self: Defense, batch: TrainingBatch) -> Tensor | None:
        term = penalty(self, batch)
        return None if term is None else term.detach()

    return lambda patch: patch.setattr(kind, "regularizer", number)


def _ungenerated(kind: type[Defense]) -> Break:
    def nothing(self: Defense, images: Images, generator: torch.Generator) -> Images:  # noqa: ARG001
        return images[:0]

    def disable(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(kind, "generated", lambda *_: 0)
        patch.setattr(kind, "generate", nothing)

    return disable
