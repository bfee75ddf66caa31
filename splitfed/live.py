"""What the attacker's process says, scored by the lab as it comes: events, strips, and the final outcomes."""

from __future__ import annotations

from pathlib import Path

import torch

from splitfed import events
from splitfed.attacker import messages
from splitfed.events import Bus
from splitfed.metrics.quality import psnr_db, ssim
from splitfed.store import RunStore
from splitfed.truth import Truth, load_reconstruction
from splitfed.types import Images, Reconstruction
from splitfed.verdict import AttackOutcome
from splitfed.views.strip import save_strip

STRIP_TILES = 12
"""Pairs in a strip: the first observations, whatever they show."""


class LiveAttack:
    """Hears the attacker of one cell. Truth stays here: it is compared with, never passed on."""

    def __init__(self, cell: str, truth: Truth, store: RunStore, bus: Bus) -> None:
        self.done: messages.Done | None = None
        self._cell = cell
        self._truth = truth
        self._store = store
        self._bus = bus
        self._attacked: list[messages.Attacked] = []

    def hear(self, message: messages.Message) -> None:
        """Called from the thread that listens to the attacker's process."""
        match message:
            case messages.Learned():
                self._learned(message)
            case messages.Attacked():
                self._attacked.append(message)
                self._show_final(message)
            case messages.Done():
                self.done = message
            case messages.Warned():
                self._bus.emit(events.Notice(message=f"{self._cell}: {message.message}", level=message.level))
            case messages.Listening():
                self._bus.emit(
                    events.Notice(message=f"{self._cell}: the tap listens on {message.address}", level="info")
                )

    def outcomes(self) -> list[AttackOutcome]:
        """What each finished attack reached, with the images behind its reconstructions."""
        loaded = [(report, self._load(report.reconstructions)) for report in self._attacked]
        return [
            AttackOutcome(report, reconstruction, self._truth.behind(reconstruction.index))
            for report, reconstruction in loaded
            if len(reconstruction)
        ]

    def _learned(self, message: messages.Learned) -> None:
        psnr = structure = strip = None
        if message.reconstructions is not None:
            shown = self._load(message.reconstructions)
            private = self._truth.private(shown.index)
            if private.any():
                shown = Reconstruction(shown.index[private], shown.images[torch.from_numpy(private)])
                psnr, structure, strip = self._score(message.attack, shown)
        self._bus.emit(
            events.AttackProgress(
                cell=self._cell,
                attack=message.attack,
                round=message.round,
                epoch=message.epoch,
                train_loss=message.train_loss,
                psnr_db=psnr,
                ssim=structure,
                strip=strip,
                strip_tile=self._truth.job.shape.width if strip else 0,
            )
        )

    def _show_final(self, message: messages.Attacked) -> None:
        reconstruction = self._load(message.reconstructions)
        if message.fit is None or not len(reconstruction):
            return
        first = Reconstruction(reconstruction.index[:1000], reconstruction.images[:1000])
        psnr, structure, strip = self._score(message.attack, first)
        self._bus.emit(
            events.AttackProgress(
                cell=self._cell,
                attack=message.attack,
                round=int(first.index[0, 0]),
                epoch=message.fit.epochs,
                train_loss=message.fit.last_loss,
                psnr_db=psnr,
                ssim=structure,
                strip=strip,
                strip_tile=self._truth.job.shape.width,
                final=True,
            )
        )

    def _score(self, attack: str, reconstruction: Reconstruction) -> tuple[float, float, str]:
        truth = self._truth.behind(reconstruction.index)
        with torch.no_grad():
            psnr = float(psnr_db(reconstruction.images, truth.pixels).mean())
            structure = float(ssim(reconstruction.images, truth.pixels).mean())
        return psnr, structure, self._save_strip(attack, truth, reconstruction)

    def _save_strip(self, attack: str, truth: Images, reconstruction: Reconstruction) -> str:
        path = self._store.images_dir / f"{self._folder.name}-{attack}.png"
        save_strip(path, truth.pixels[:STRIP_TILES].numpy(), reconstruction.images[:STRIP_TILES].numpy())
        return str(path.relative_to(self._store.path))

    def _load(self, name: str) -> Reconstruction:
        return load_reconstruction(self._folder / "attack" / name)

    @property
    def _folder(self) -> Path:
        return self._store.cell_dir(self._cell)
