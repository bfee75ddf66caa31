"""The attack on what clients send while they train, once that is over: TRAIN streams of kept rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from splitfed import attacks
from splitfed.attacker.components import built_attacks, built_defense, built_front
from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.held_front import HeldFront
from splitfed.attacker.knowledge_files import load_front
from splitfed.attacker.made import as_numbers, save_made
from splitfed.attacker.moving_front import (
    JUDGED_AT,
    SHARES,
    SHARES_EXPENSIVE,
    MovingFront,
    State,
    as_in_training,
    between,
    strayed,
)
from splitfed.attacker.observed import Chosen, Observed, affordable
from splitfed.attacker.protocol import Attacked, Final, Message, front_path
from splitfed.attacks import Attack
from splitfed.attacks.auxiliary import split_auxiliary
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.models.front import Front
from splitfed.seeding import generator
from splitfed.types import FitEvidence, Images, Phase

MOST_OBSERVATIONS = 6000
"""Of a round, evenly spaced: epochs may be many."""


class Way(NamedTuple):
    """The front of a round on its way: as it was broadcast, and the average after the round."""

    round: int
    before: State
    after: State


def attack_training(
    config: AttackerConfig,
    auxiliary: Images,
    observed: Observed,
    final: Final,
    *,
    say: Callable[[Message], None],
    check: Callable[[], None],
) -> None:
    """Attack each training round of which both the streams and the fronts around it are there.

    Args:
        config: what the attacker is told.
        auxiliary: its own images.
        observed: what the tap recorded.
        final: which front the last one is.
        say: is told what each attack came to.
        check: called between units of work; raises to stop.
    """
    streams = TrainingStreams(config, auxiliary)
    for way in _ways(config, final):
        seen = affordable(list(map(Chosen.all_of, observed.training(way.round))), MOST_OBSERVATIONS)
        if not seen:
            continue
        mounted = streams.learn(way, check)
        for attack in mounted:
            started, name = time.monotonic(), f"{attack.name}@TRAIN{way.round}"
            fit = as_numbers(streams.evidence(way, attack))
            made = save_made(config, name, attack, seen)
            seconds = time.monotonic() - started
            say(
                Attacked(
                    attack=name, phase="TRAIN", is_control=False, fit=fit, reconstructions=made.name, seconds=seconds
                )
            )
            check()


def _ways(config: AttackerConfig, final: Final) -> Iterator[Way]:
    """Of each round before the final front, as far as the fronts around it are there still."""
    for number in range(1, final.round):
        states = []
        for at in (number, number + 1):
            if front_path(config.knowledge, at).exists():
                front = built_front(config)
                load_front(config.knowledge, at, front)
                states.append(front.state_dict())
        if len(states) == 2:
            yield Way(number, *states)


@dataclass(frozen=True)
class TrainingStreams:
    """Has attacks face the streams of one round, and judges them on the attacker's own images.

    Attributes:
        config: what the attacker is told.
        auxiliary: its own images.
    """

    config: AttackerConfig
    auxiliary: Images

    def learn(self, way: Way, check: Callable[[], None]) -> list[Attack]:
        """Those of the attacks that can afford it, anew, each when it has learned to its end."""
        expensive = built_front(self.config).expensive
        shares = SHARES_EXPENSIVE if expensive else SHARES
        own = self.auxiliary[: self.config.live_aux] if expensive else self.auxiliary
        fronts = [as_in_training(built_front(self.config), between(way.before, way.after, share)) for share in shares]
        moving = MovingFront(fronts, built_defense(self.config))
        knowledge = moving.knowledge(own, labels_in_clear=self.config.labels_in_clear)
        able = [attack for attack in built_attacks(self.config) if attack.faces_training and attack.applies(knowledge)]
        for position, attack in enumerate(able):
            attack.build_on(able[:position])
            attack.begin(knowledge, generator(self.config.seed, "attack", way.round))
            while not attack.advance().finished:
                check()
            check()
        return able

    @torch.no_grad()
    def evidence(self, way: Way, attack: Attack) -> FitEvidence:
        """What the attack says of itself; but judged through fronts that it did not learn from, and that strayed."""
        knowledge_of = MovingFront([self._strayed(way, 0)], built_defense(self.config)).knowledge
        own = split_auxiliary(knowledge_of(self.auxiliary, labels_in_clear=True), before=None)
        places = own.validation[: self.config.live_aux // 10] if built_front(self.config).expensive else own.validation
        pixels, labels = own.pixels[places], own.labels[places] if self.config.labels_in_clear else None
        psnr_db, ssim = [], []
        for number in range(len(JUDGED_AT)):
            held = HeldFront(self._strayed(way, number), built_defense(self.config), Phase.TRAIN)
            seen = held(pixels, generator(self.config.seed, "judge", way.round, number))
            made = attacks.reconstruct(attack, seen, self.config.image_shape, labels)
            psnr_db.append(fast_psnr_db(made, pixels).mean())
            ssim.append(fast_ssim(made, pixels).mean())
        judged = float(torch.stack(psnr_db).mean()), float(torch.stack(ssim).mean())
        return replace(attack.evidence(), validation_psnr_db=judged[0], validation_ssim=judged[1])

    def _strayed(self, way: Way, number: int) -> Front:
        drawn_from = generator(self.config.seed, "stray", way.round, number)
        front = built_front(self.config)
        state = strayed(front, way.before, way.after, JUDGED_AT[number], drawn_from)
        return as_in_training(front, state)
