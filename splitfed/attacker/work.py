"""The attacker's work: while training runs, a thread of lower priority learns, so that training hardly notices; then
every attack faces the final front, and some the streams of training.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from splitfed.attacker import protocol
from splitfed.attacker.components import built_attacks, built_defense, built_front
from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.held_front import FrontWatch, HeldFront
from splitfed.attacker.knowledge_files import load_auxiliary, load_front
from splitfed.attacker.made import as_numbers, save_made
from splitfed.attacker.observed import Chosen, Observed
from splitfed.attacker.protocol import LIVE, Final, front_path, newest_front
from splitfed.attacker.training_streams import attack_training
from splitfed.attacks import Attack
from splitfed.attacks.label_guess import guess_accuracy
from splitfed.errors import UserError
from splitfed.files import make_private
from splitfed.seeding import generator
from splitfed.types import Images, Knowledge, Observation
from splitfed.wire.tap import Tap

NICENESS = 10
"""Of the learning thread; the relay's threads keep the process's own."""
LIVE_UNITS = 10
"""Most units of work (epochs) of an attack on one round's front: more would only slow the training down."""
IDLE_S = 0.1
"""Pause when there is nothing to learn from."""


class StoppedEarly(Exception):
    """The work was asked to stop, and did."""


class Attacker:
    """Follows the fronts of training with warm-started attacks, then attacks the final front to the plateau.

    Args:
        config: what it is told.
        tap: where the observations come from; None where somebody else records them.
        say: gets what it has to say.
        asked_to_stop: once it is set, `run` raises `StoppedEarly` at the end of the unit of work under way.

    Raises:
        UserError: an attack or a defense that does not exist, or images that do not fit.
    """

    def __init__(
        self,
        config: AttackerConfig,
        tap: Tap | None,
        say: Callable[[protocol.Message], None],
        asked_to_stop: threading.Event | None = None,
    ) -> None:
        torch.set_num_threads(1)
        # Adam's momentum of a pixel that is always black falls below 1e-38, where arithmetic is many times slower
        torch.set_flush_denormal(True)
        self.config = config
        self._tap = tap
        self._say = say
        self._asked_to_stop = asked_to_stop or threading.Event()
        self._attacks = built_attacks(config)
        seen, width = config.observations, built_defense(config).released(config.width)
        self._observed = Observed(seen, width, lambda text: say(protocol.Warned(message=text)), config.shown)
        self._auxiliary = load_auxiliary(config.knowledge, config.image_shape)
        self._left_out: set[str] = set()
        self._shown_at = dict.fromkeys(range(len(self._attacks)), 0.0)
        make_private(config.out)

    def run(self) -> None:
        """Learn from round to round until training is over; then finish every attack.

        Raises:
            StoppedEarly: it was asked to stop.
            UserError: knowledge that does not fit.
        """
        # a thread of its own: who is not root may lower a thread's priority but not raise it again
        with ThreadPoolExecutor(1, "learner", initializer=_lower_priority) as learner:
            learner.submit(self._follow).result()
        self._finish()

    def _check(self) -> None:
        if self._asked_to_stop.is_set():
            raise StoppedEarly

    def _follow(self) -> None:
        """Learn from the fronts of training as they come, with the attacks that can keep up."""
        self._attacks = [attack for attack in self._attacks if attack.live]
        for round_number in self._rounds():
            try:
                self._begin(round_number, self._auxiliary[: self.config.live_aux])
            except UserError:
                if front_path(self.config.knowledge, round_number).exists():
                    raise
                continue  # this front has been replaced by newer ones since it was seen
            self._learn_until_next(round_number)

    def _rounds(self) -> Iterator[int]:
        """The fronts worth learning from, newest first seen, until training is over."""
        last = None
        while Final.load(self.config.knowledge) is None:
            self._check()
            newest = newest_front(self.config.knowledge)
            if newest is None or newest == last:
                self._asked_to_stop.wait(IDLE_S)
                continue
            last = newest
            yield newest

    def _begin(self, round_number: int, auxiliary: Images) -> FrontWatch:
        """Face the front of this round with every attack; a sparse front is expensive to run on many images."""
        held = self._load_front(round_number)
        knowledge = self._knowledge(held, auxiliary)
        self._leave_out_unfit(knowledge)
        watch = FrontWatch(held)
        for position, attack in enumerate(self._attacks):
            self._check()
            attack.build_on([other for other in self._attacks[:position] if not other.is_control])
            # one seed for all: they split the auxiliary images alike, and are judged on the same part
            attack.begin(knowledge, generator(self.config.seed, "attack", round_number))
            watch.blame(attack.name)
        return watch

    def _knowledge(self, held: HeldFront, auxiliary: Images) -> Knowledge:
        return held.knowledge(auxiliary, labels_in_clear=self.config.labels_in_clear)

    def _tell_of_guesses(self, round_number: int) -> None:
        """Say how well labels are guessed that do not travel in clear."""
        knowledge = self._knowledge(self._load_front(round_number), self._auxiliary)
        share = guess_accuracy(knowledge, generator(self.config.seed, "attack", round_number))
        text = f"labels are not in clear: attacks guess them, {share:.1%} right on held-out images of their own"
        self._say(protocol.Warned(message=text, level="info"))

    def _leave_out_unfit(self, knowledge: Knowledge) -> None:
        """A scenario names one list of attacks for all its defenses: those that do not apply here are not mounted."""
        unfit = [attack for attack in self._attacks if not attack.applies(knowledge)]
        for attack in unfit:
            self._attacks.remove(attack)
            if attack.name in self._left_out:
                continue
            self._left_out.add(attack.name)
            text = f"attack {attack.name} is left out: it needs {attack.needs}, and this defense has none"
            self._say(protocol.Warned(message=text, level="info"))

    def _learn_until_next(self, round_number: int) -> None:
        """One unit of work per attack in turn, until there is a newer front or enough to look at."""
        open_attacks = list(range(len(self._attacks)))
        for _ in range(LIVE_UNITS):
            for position in list(open_attacks):
                if self._outdated(round_number):
                    return
                if self._advance(position, round_number):
                    open_attacks.remove(position)

    def _outdated(self, round_number: int) -> bool:
        return newest_front(self.config.knowledge) != round_number or Final.load(self.config.knowledge) is not None

    def _advance(self, position: int, round_number: int) -> bool:
        """One unit of work; says how it went, with something to look at now and then. True when it was the last."""
        self._check()
        attack = self._attacks[position]
        progress = attack.advance()
        due = time.monotonic() - self._shown_at[position] >= self.config.live_interval_s
        shown = self._reconstruct_live(attack, round_number) if due or progress.finished else None
        if shown is not None:
            self._shown_at[position] = time.monotonic()
        self._say(
            protocol.Learned(
                attack=attack.name,
                round=round_number,
                epoch=progress.epoch,
                train_loss=progress.train_loss,
                reconstructions=shown.name if shown else None,
            )
        )
        return progress.finished

    def _reconstruct_live(self, attack: Attack, round_number: int) -> Path | None:
        """Reconstruct what is to be shown of this round, if there is any of it yet."""
        chosen = self._observed.to_show(round_number, self.config.live_images)
        return save_made(self.config, LIVE + attack.name, attack, chosen) if chosen else None

    def _finish(self) -> None:
        """All attacks on the final front, each to its plateau, on every observation of it."""
        final = Final.load(self.config.knowledge)
        assert final is not None
        torch.set_num_threads(self.config.threads)  # training is over: nothing is disturbed any more
        observed = self._observed.settled(final, self.config.settle_s, self._asked_to_stop)
        # anew: how far the live ones have come depends on what else the machine did
        self._attacks = built_attacks(self.config)
        if not self.config.labels_in_clear:
            self._tell_of_guesses(final.round)
        watch = self._begin(final.round, self._auxiliary)
        for position, attack in enumerate(self._attacks):
            self._complete(position, attack, final.round, observed)
            watch.blame(attack.name)
        if self.config.training_streams:
            attack_training(self.config, self._auxiliary, self._observed, final, say=self._say, check=self._check)
        self._say(
            protocol.Done(
                front_before=watch.before,
                front_after=watch.now,
                moved_by=tuple(watch.moved_by),
                observed=sum(len(observation.activation) for observation in observed),
                unparsed=self._tap.unparsed if self._tap is not None else 0,
                ciphertext=self._tap.ciphertext if self._tap is not None else 0,
            )
        )

    def _complete(self, position: int, attack: Attack, round_number: int, observed: list[Observation]) -> None:
        """One attack to its plateau, and what it makes of all observations."""
        started = time.monotonic()
        while not self._advance(position, round_number):
            pass
        path = save_made(self.config, attack.name, attack, list(map(Chosen.all_of, observed)))
        self._say(
            protocol.Attacked(
                attack=attack.name,
                is_control=attack.is_control,
                fit=as_numbers(attack.evidence()),
                reconstructions=path.name,
                seconds=time.monotonic() - started,
            )
        )

    def _load_front(self, round_number: int) -> HeldFront:
        front = built_front(self.config)
        load_front(self.config.knowledge, round_number, front)
        return HeldFront(front.eval(), built_defense(self.config))


def _lower_priority() -> None:
    """Let training go first. Where the platform cannot do that for one thread, nothing changes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
