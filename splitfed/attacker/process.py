"""The attacker: a process of its own that relays the clients' traffic, records what it sees, and inverts it.

The relay's threads forward bytes; while training runs, a thread of lower priority learns, so that training hardly
notices.
It starts to listen before PyTorch is imported: clients need not wait for that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from splitfed.attacker import messages
from splitfed.attacker.config import (
    LIVE,
    AttackerConfig,
    Final,
    front_path,
    load_auxiliary,
    newest_front,
)
from splitfed.files import as_open_as, file_name, make_private, replacing
from splitfed.types import Phase
from splitfed.wire.relay import Relay

if TYPE_CHECKING:
    import numpy as np

    from splitfed.attacker.held_front import FrontWatch, HeldFront
    from splitfed.attacks.base import Attack
    from splitfed.defenses import Defense
    from splitfed.types import Images, Knowledge, Observation
    from splitfed.wire.relay import Direction
    from splitfed.wire.tap import Tap

NICENESS = 10
"""Of the learning thread; the relay's threads keep the process's own."""
LIVE_UNITS = 10
"""Most units of work (epochs) of an attack on one round's front: more would only slow the training down."""
IDLE_S = 0.1
"""Pause when there is nothing to learn from."""


def run(config: AttackerConfig, output: TextIO = sys.stdout) -> None:
    """Relay, observe and attack until all attacks on the final front are done, or the standard input closes."""
    say = Speaker(output)
    _end_with_parent()
    observer = LateObserver()
    make_private(config.out)  # what is recorded and made of it are private images
    with as_open_as(config.out), Relay(config.upstream, listen=config.listen, observer=observer) as relay:
        say(messages.Listening(address=relay.address))
        Attacker(config, observer.wake(_tap(config, say)), say).run()


class Speaker:
    """Writes messages, one a line, whole, from any thread."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.Lock()

    def __call__(self, message: messages.Message) -> None:
        with self._lock:
            self._output.write(message.model_dump_json() + "\n")
            self._output.flush()


class LateObserver:
    """Stands in for the tap while its libraries are imported; what arrives meanwhile waits in the relay's backlog."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._tap: Tap | None = None

    def wake(self, tap: Tap) -> Tap:
        """Hand everything to `tap` from now on."""
        self._tap = tap
        self._ready.set()
        return tap

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        """A copy of bytes that were forwarded."""
        self._when_ready().received(connection, direction, data)

    def dropped(self, connection: int) -> None:
        """The copy of this connection is no longer whole."""
        self._when_ready().dropped(connection)

    def closed(self, connection: int) -> None:
        """The connection ended."""
        self._when_ready().closed(connection)

    def _when_ready(self) -> Tap:
        self._ready.wait()
        assert self._tap is not None
        return self._tap


def _tap(config: AttackerConfig, say: Speaker) -> Tap:
    from splitfed.wire.observations import ObservationWriter
    from splitfed.wire.tap import Tap

    writer = ObservationWriter(config.observations, keep_rounds=config.keep_rounds or None)
    return Tap(writer, notice=lambda text: say(messages.Warned(message=text)))


class Attacker:
    """Follows the fronts of training with warm-started attacks, then attacks the final front to the plateau."""

    def __init__(self, config: AttackerConfig, tap: Tap, say: Speaker) -> None:
        import torch

        from splitfed.attacks import build

        torch.set_num_threads(1)
        # Adam's momentum of a pixel that is always black falls below 1e-38, where arithmetic is many times slower
        torch.set_flush_denormal(True)
        self.config = config
        self._tap = tap
        self._say = say
        self._auxiliary = load_auxiliary(config.knowledge)
        self._attacks: list[Attack] = [build(c.name, c.options) for c in config.attacks]
        self._shown_at = dict.fromkeys(range(len(self._attacks)), 0.0)
        make_private(config.out)

    def run(self) -> None:
        """Learn from round to round until training is over; then finish every attack."""
        # a thread of its own: who is not root may lower a thread's priority but not raise it again
        with ThreadPoolExecutor(1, "learner", initializer=_lower_priority) as learner:
            learner.submit(self._follow).result()
        self._finish()

    def _follow(self) -> None:
        """Learn from the fronts of training as they come."""
        for round_number in self._rounds():
            try:
                self._begin(round_number, self._auxiliary[: self.config.live_aux])
            except FileNotFoundError:
                continue  # this front has been replaced by newer ones since it was seen
            self._learn_until_next(round_number)

    def _rounds(self) -> Iterator[int]:
        """The fronts worth learning from, newest first seen, until training is over."""
        last = None
        while Final.load(self.config.knowledge) is None:
            newest = newest_front(self.config.knowledge)
            if newest is None or newest == last:
                time.sleep(IDLE_S)
                continue
            last = newest
            yield newest

    def _begin(self, round_number: int, auxiliary: Images) -> FrontWatch:
        """Face the front of this round with every attack; a sparse front is dear to run on many images."""
        from splitfed.attacker.held_front import FrontWatch
        from splitfed.seeding import generator
        from splitfed.types import Knowledge

        held = self._load_front(round_number)
        randomised = self._defense().randomised
        knowledge = Knowledge(
            auxiliary,
            held,
            expected=held.expected,
            front=held.front,
            randomised=randomised,
            nonnegative=held.nonnegative,
            dear=held.front.dear,
        )
        self._leave_out_unfit(knowledge)
        watch = FrontWatch(held)
        for position, attack in enumerate(self._attacks):
            attack.build_on([other for other in self._attacks[:position] if not other.is_control])
            # one seed for all: they split the auxiliary images alike, and are judged on the same part
            attack.begin(knowledge, generator(self.config.seed, "attack", round_number))
            watch.blame(attack.name)
        return watch

    def _leave_out_unfit(self, knowledge: Knowledge) -> None:
        """A scenario names one list of attacks for all its defenses: those that do not apply here are not mounted."""
        unfit = [attack for attack in self._attacks if not attack.applies(knowledge)]
        for attack in unfit:
            self._attacks.remove(attack)
            text = f"attack {attack.name} is left out: it needs {attack.needs}, and this defense has none"
            self._say(messages.Warned(message=text, level="info"))

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
        attack = self._attacks[position]
        progress = attack.advance()
        due = time.monotonic() - self._shown_at[position] >= self.config.live_interval_s
        shown = self._reconstruct_live(attack, round_number) if due or progress.finished else None
        if shown is not None:
            self._shown_at[position] = time.monotonic()
        self._say(
            messages.Learned(
                attack=attack.name,
                round=round_number,
                epoch=progress.epoch,
                train_loss=progress.train_loss,
                reconstructions=shown.name if shown else None,
            )
        )
        return progress.finished

    def _reconstruct_live(self, attack: Attack, round_number: int) -> Path | None:
        """Reconstruct the first observations of this round, if there are any yet."""
        phase = Phase.AUDIT if self._has_audit(round_number) else Phase.TRAIN
        observed = []
        rows = 0
        for observation in self._observed(round_number, phase):
            observed.append(observation)
            rows += len(observation.activation)
            if rows >= self.config.live_images:
                break
        if not observed:
            return None
        path = self.config.out / f"{LIVE}{file_name(attack.name)}.npz"
        self._save(path, attack, observed)
        return path

    def _has_audit(self, round_number: int) -> bool:
        return next(self._observed(round_number, Phase.AUDIT), None) is not None

    def _observed(self, round_number: int, phase: Phase) -> Iterator[Observation]:
        from splitfed.wire.observations import read_observations

        return read_observations(self.config.observations, round=round_number, phase=phase)

    def _finish(self) -> None:
        """All attacks on the final front, each to its plateau, on every observation of it."""
        import torch

        final = Final.load(self.config.knowledge)
        assert final is not None
        torch.set_num_threads(self.config.threads)  # training is over: nothing is disturbed any more
        observed = self._settled(final)
        watch = self._begin(final.round, self._auxiliary)
        for position, attack in enumerate(self._attacks):
            started = time.monotonic()
            while not self._advance(position, final.round):
                pass
            path = self.config.out / f"{file_name(attack.name)}.npz"
            self._save(path, attack, observed)
            fit = messages.Fit(**vars(attack.evidence()))
            watch.blame(attack.name)
            self._say(
                messages.Attacked(
                    attack=attack.name,
                    is_control=attack.is_control,
                    fit=fit,
                    reconstructions=path.name,
                    seconds=time.monotonic() - started,
                )
            )
        self._say(
            messages.Done(
                front_before=watch.before,
                front_after=watch.now,
                moved_by=tuple(watch.moved_by),
                observed=sum(len(observation.activation) for observation in observed),
                unparsed=self._tap.unparsed,
            )
        )

    def _settled(self, final: Final) -> list[Observation]:
        """The observations of the final front, once all expected ones are on disk or the wait is over."""
        deadline = time.monotonic() + self.config.settle_s
        while True:
            observed = list(self._observed(final.round, Phase.AUDIT))
            rows = sum(len(observation.activation) for observation in observed)
            if rows >= final.rows:
                return observed
            if time.monotonic() > deadline:
                self._say(messages.Warned(message=f"the tap saw {rows} of {final.rows} activations of the final front"))
                return observed
            time.sleep(IDLE_S)

    def _save(self, path: Path, attack: Attack, observed: list[Observation]) -> None:
        """Write index and images in one piece, so that a reader never sees half a file."""
        import numpy as np
        import torch

        from splitfed.attacks import reconstruct

        shape = self.config.image_shape
        chosen = affordable(observed, attack.most_observations())
        with torch.no_grad():
            images = [reconstruct(attack, observation.activation[rows], shape) for observation, rows in chosen]
        pixels = torch.cat(images).numpy() if images else np.zeros((0, *shape), np.float32)
        index = np.concatenate([o.index()[rows] for o, rows in chosen]) if chosen else np.zeros((0, 4), np.int64)
        with replacing(path) as file:
            np.savez(file, index=index, images=pixels)

    def _load_front(self, round_number: int) -> HeldFront:
        import torch

        from splitfed.attacker.held_front import HeldFront
        from splitfed.models.front import FrontSpec

        defense = self._defense()
        spec = FrontSpec(self.config.image_shape, self.config.width, self.config.hidden_layers)
        front = defense.build_front(spec, torch.Generator())
        front.load_state_dict(torch.load(front_path(self.config.knowledge, round_number), weights_only=True))
        return HeldFront(front, defense)

    def _defense(self) -> Defense:
        from splitfed import defenses

        return defenses.build(self.config.defense.name, self.config.defense.options)


def affordable(observed: Sequence[Observation], most: int | None) -> list[tuple[Observation, np.ndarray]]:
    """Which rows of each observation to reconstruct: all, or `most` of them, evenly spaced over clients and steps.

    Which streams came first is up to the network, so that they are put in order before anything is left out.
    """
    import numpy as np

    ordered = sorted(observed, key=lambda o: (o.client, o.step))
    ends = np.cumsum([0, *(len(o.activation) for o in ordered)])
    total = int(ends[-1])
    kept = np.arange(total) if most is None or most >= total else np.linspace(0, total - 1, most).astype(np.int64)
    rows = [kept[(kept >= start) & (kept < end)] - start for start, end in pairwise(ends)]
    return [(observation, own) for observation, own in zip(ordered, rows, strict=True) if len(own)]


def _lower_priority() -> None:
    """Let training go first. Where the platform cannot do that for one thread, nothing changes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _end_with_parent() -> None:
    """Leave when the standard input closes: a lab that died leaves no attacker behind."""

    def wait() -> None:
        # not by way of sys.stdin: the interpreter cannot end while a thread waits in there
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True, name="parent").start()
