"""What the attacker's process says, scored by the lab as it comes: events, strips, and the final outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from splitfed.attacker import protocol
from splitfed.errors import AttackError, UserError
from splitfed.experiment.attack_outcome import AttackOutcome
from splitfed.experiment.truth import Truth
from splitfed.experiment.wall import CellWall
from splitfed.files import file_name
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.records import events
from splitfed.records.bus import Bus
from splitfed.records.reconstructions import check_name, read_reconstruction
from splitfed.records.store import RunStore
from splitfed.records.strips import save_strip
from splitfed.roles.lab_protocol import Verdict
from splitfed.types import FitEvidence, Images, Reconstruction

STRIP_TILES = 12
"""Pairs in a strip: the first observations, whatever they show."""
MOST_CHARACTERS = 2000
"""Of one message of the attacker's."""


class AttackListener:
    """Hears the attacker of one cell. Truth stays here: it is compared with, never passed on."""

    def __init__(self, cell: str, truth: Truth, store: RunStore, bus: Bus, wall: CellWall | None = None) -> None:
        self.done: protocol.Done | None = None
        self._cell = cell
        self._truth = truth
        self._store = store
        self._bus = bus
        self._wall = wall
        self.refused: dict[str, str] = {}
        """By name, the attacks that have no score because of what they said or wrote, and why."""
        self._attacked: list[protocol.Attacked] = []
        self._said: set[tuple[str, str]] = set()

    def hear(self, message: protocol.Message | Verdict) -> None:
        """Called from the thread that listens to the attacker's process.

        What it says is a stranger's: a name, a file or a number that does not fit costs the attack its score.
        """
        match message:
            case protocol.Learned():
                with self._refusing(message.attack, "what it shows meanwhile"):
                    self._learned(message)
            case protocol.Attacked():
                with self._refusing(message.attack, "its result", counts=not message.is_control):
                    self._finished(message)
            case protocol.Done():
                self.done = message
            case protocol.Warned():
                self._notice(_legible(message.message), message.level)
            case protocol.Listening():
                self._listening(message.address)

    def _listening(self, address: str | None) -> None:
        where = "the server keeps what it is sent" if address is None else f"the tap listens on {_legible(address)}"
        self._notice(where, "info")

    def outcomes(self) -> list[AttackOutcome]:
        """What each finished attack reached, with the images behind its reconstructions."""
        found = []
        for report in self._attacked:
            with self._refusing(report.attack, "its result", counts=not report.is_control):
                if (made := self._made(report)) is not None:
                    found.append(self._outcome(report, made))
        return found

    def _made(self, report: protocol.Attacked) -> Reconstruction | None:
        """What an attack made of clients' own images; None where that is nothing.

        In training clients may send generated images too, which are nobody's.
        """
        made = self._load(report.reconstructions)
        if report.phase == "AUDIT":
            return made if len(made) else None
        return self._private_part(made)

    def _outcome(self, report: protocol.Attacked, made: Reconstruction) -> AttackOutcome:
        images = self._truth.originals(made.index)
        if report.phase == "AUDIT":
            return AttackOutcome(report, made, images)
        rounds = {int(number) for number in made.index[:, 0]}
        if rounds - set(range(1, self._truth.job.scenario.federation.rounds + 1)):
            raise AttackError(f"it reconstructs rounds {sorted(rounds)}; a training round was expected")
        return AttackOutcome(
            report,
            made,
            images,
            audited=self._truth.audited(made.index),
            sent=sum(map(self._truth.sent, rounds)),
        )

    @contextmanager
    def _refusing(self, attack: str, what: str, *, counts: bool = False) -> Iterator[None]:
        """Say once of this attack that ``what`` is refused, and go on without it."""
        try:
            yield
        except (AttackError, IndexError) as error:
            name = _legible(attack)
            if counts:
                self.refused[name] = str(error)
            if (attack, what) not in self._said:
                self._said.add((attack, what))
                self._notice(f"attack {name}: {what} is refused and not scored: {error}")

    def _learned(self, message: protocol.Learned) -> None:
        check_name(message.attack)
        shown = None
        if message.reconstructions is not None:
            shown = self._private_part(self._load(message.reconstructions))
        if shown is not None and self._wall is not None:
            self._wall.moment(message.attack, message.round, message.epoch, shown)
        self._bus.emit(message.event(self._cell, **self._scores(message.attack, shown)))

    def _private_part(self, reconstruction: Reconstruction) -> Reconstruction | None:
        """What of this is of clients' own images; None where nothing is."""
        private = self._truth.private(reconstruction.index)
        if not private.any():
            return None
        return Reconstruction(reconstruction.index[private], reconstruction.images[torch.from_numpy(private)])

    def _finished(self, message: protocol.Attacked) -> None:
        check_name(message.attack)
        if message.fit is not None:
            check_finite(message.fit)
        reconstruction = self._made(message)
        self._attacked.append(message)
        if reconstruction is None:
            return
        if message.fit is not None:
            self._show_final(message.attack, message.fit, reconstruction)
        if self._wall is not None:
            self._wall.final(message.attack, message.is_control, reconstruction)

    def _show_final(self, attack: str, fit: FitEvidence, reconstruction: Reconstruction) -> None:
        first = Reconstruction(reconstruction.index[:1000], reconstruction.images[:1000])
        self._bus.emit(
            events.AttackProgress(
                cell=self._cell,
                attack=attack,
                round=int(first.index[0, 0]),
                epoch=fit.epochs,
                train_loss=fit.last_loss,
                final=True,
                **self._scores(attack, first),
            )
        )

    def _scores(self, attack: str, shown: Reconstruction | None) -> dict[str, Any]:
        """What an event says of what is shown, by the names of its fields."""
        if shown is None:
            return {}
        truth = self._truth.originals(shown.index)
        with torch.no_grad():
            found: dict[str, Any] = {
                "psnr_db": float(fast_psnr_db(shown.images, truth.pixels).mean()),
                "ssim": float(fast_ssim(shown.images, truth.pixels).mean()),
                "reid_top1": None if self._wall is None else self._wall.reid_top1(shown),
            }
        strip = self._save_strip(attack, truth, shown)
        return found if strip is None else {**found, "strip": strip, "strip_tile": self._truth.job.shape.width}

    def _save_strip(self, attack: str, truth: Images, reconstruction: Reconstruction) -> str | None:
        """Where the strip lies in the run; None where it cannot be written, which costs the attack nothing."""
        path = self._store.images_dir / f"{file_name(f'{self._cell}-{attack}')}.png"
        try:
            save_strip(path, truth.pixels[:STRIP_TILES].numpy(), reconstruction.images[:STRIP_TILES].numpy())
        except UserError as error:
            self._notice(str(error))
            return None
        return str(path.relative_to(self._store.path))

    def _load(self, name: str) -> Reconstruction:
        return read_reconstruction(self._store.cell_dir(self._cell), name, self._truth.job.shape)

    def _notice(self, message: str, level: events.Level = "warning") -> None:
        self._bus.emit(events.Notice(message=f"{self._cell}: {message}", level=level))


def check_finite(fit: FitEvidence) -> None:
    """Whether what an attack says of its training are numbers.

    Raises:
        AttackError: one is not finite.
    """
    for name, value in vars(fit).items():
        if value is not None and not math.isfinite(value):
            raise AttackError(f"its {name} is {value}")


def _legible(text: str) -> str:
    """What a stranger wrote, for a terminal: not too long, and without characters that it would obey."""
    return "".join(character if character.isprintable() else "?" for character in text[:MOST_CHARACTERS])
