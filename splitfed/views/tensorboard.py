"""A run for TensorBoard: scalars, image grids and hparams, one TensorBoard run per cell.

<folder>/<run>/<cell>/     training/loss, training/accuracy      by round
                           clients/<n>/loss                      by step
                           attacks/<attack>/psnr_db, ssim, loss  by the times that it reported
                           wall/<attack>                         originals above what it made of them
                           hparams                               defense, options and seed; accuracy and what leaks
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import singledispatchmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from splitfed.errors import UserError
from splitfed.files import file_name
from splitfed.records import events
from splitfed.records.sheets import TILES_PER_ROW, load_tiles
from splitfed.records.wall import Victims, WallFolder

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from splitfed.records.results import CellResult
    from splitfed.records.store import RunStore

FOLDER = "tensorboard"
"""Where it is written by default, in the run."""
LEAKS = ("psnr_db", "ssim", "reid_top1")
"""The scores of the strongest attack that hparams are compared by."""
GAP_PX = 1
FLUSH_S = 10
"""What is written meanwhile is there to be seen so soon."""


class TensorBoardView:
    """A subscriber of `records.bus.Bus` that writes what TensorBoard reads; a context manager.

    Args:
        folder: where to; None for a folder in the run itself.
        run: the run's directory, where it is another than its events say.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None = None, *, run: Path | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("TensorBoard is not installed: pip install 'splitfed[tensorboard]'") from None
        self._new_writer = SummaryWriter
        self._folder = folder
        self._run = run
        self._writers: dict[str, Any] = {}
        self._wrote = False
        self._reports: Counter[tuple[str, str]] = Counter()
        self._originals: tuple[Victims, NDArray[np.uint8]] | None = None

    @property
    def path(self) -> Path | None:
        """What to start TensorBoard with, once the run has begun."""
        return None if self._run is None else self._folder or self._run / FOLDER

    @property
    def wrote(self) -> bool:
        """Whether there was anything to write so far."""
        return self._wrote

    def close(self) -> None:
        """Have all of it on the disk."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def __enter__(self) -> TensorBoardView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: events.Event) -> None:
        """Write what one event says."""
        self._take(event)

    @singledispatchmethod
    def _take(self, event: events.Event) -> None:
        """Events of other kinds have nothing for TensorBoard."""

    @_take.register
    def _(self, event: events.RunStarted) -> None:
        self._run = self._run or Path(event.run_dir)

    @_take.register
    def _(self, event: events.ClientProgress) -> None:
        step = (event.round - 1) * event.steps + event.step
        self._scalar(event.cell, f"clients/{event.client}/loss", event.loss, step, event.time_s)

    @_take.register
    def _(self, event: events.RoundFinished) -> None:
        self._scalar(event.cell, "training/loss", event.loss, event.round, event.time_s)
        self._scalar(event.cell, "training/accuracy", event.accuracy, event.round, event.time_s)

    @_take.register
    def _(self, event: events.AttackProgress) -> None:
        self._reports[event.cell, event.attack] += 1
        step = self._reports[event.cell, event.attack]
        values = {"loss": event.train_loss, "psnr_db": event.psnr_db, "ssim": event.ssim}
        for name, value in values.items():
            if value is not None:
                self._scalar(event.cell, f"attacks/{event.attack}/{name}", value, step, event.time_s)

    @_take.register
    def _(self, event: events.WallMoment) -> None:
        grid = self._grid(event)
        if grid is not None:
            writer = self._writer(event.cell)
            writer.add_image(f"wall/{event.attack}", grid, event.number, walltime=event.time_s, dataformats="HWC")

    @_take.register
    def _(self, event: events.CellFinished) -> None:
        from torch.utils.tensorboard.summary import hparams

        settings, reached = _hparams(event.result)
        writer = self._writer(event.cell)
        for summary in hparams(settings, reached):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary, walltime=event.time_s)
        for name, value in reached.items():
            writer.add_scalar(name, value, walltime=event.time_s)
        self._writers.pop(event.cell).close()

    def _scalar(self, cell: str, name: str, value: float, step: int, at_s: float) -> None:
        self._writer(cell).add_scalar(name, value, step, walltime=at_s)

    def _writer(self, cell: str) -> Any:
        self._wrote = True
        if cell not in self._writers:
            folder, run = self.path, self._run
            assert folder is not None
            assert run is not None
            self._writers[cell] = self._new_writer(str(folder / run.name / file_name(cell)), flush_secs=FLUSH_S)
        return self._writers[cell]

    def _grid(self, event: events.WallMoment) -> NDArray[np.uint8] | None:
        """Originals above what an attack made of them; none where a picture is gone, or nobody here has originals."""
        assert self._run is not None
        wall = WallFolder(self._run)
        with suppress(OSError, ValueError, UserError):
            victims, originals = self._known(wall)
            made = load_tiles(wall.cell(event.cell) / event.sheet, len(event.victims), victims.height, victims.width)
            shown = [place for place, number in enumerate(event.victims) if number < len(originals)][:TILES_PER_ROW]
            own = originals[[event.victims[place] for place in shown]]
            return np.concatenate([_row(own), _row(made[shown])])
        return None

    def _known(self, wall: WallFolder) -> tuple[Victims, NDArray[np.uint8]]:
        """The victims and the originals on their first sheet.

        Raises:
            OSError: there are none.
        """
        if self._originals is None:
            victims = wall.victims()
            if victims is None or not victims.sheets:
                raise FileNotFoundError(wall.path)
            count = min(victims.count, victims.tiles_per_sheet)
            tiles = load_tiles(wall.path / victims.sheets[0], count, victims.height, victims.width)
            self._originals = victims, tiles
        return self._originals


def write(store: RunStore, folder: Path | None = None) -> Path:
    """Write what a run has said so far, and return what to start TensorBoard with.

    Raises:
        UserError: TensorBoard is not installed, or the run has said nothing yet.
    """
    with TensorBoardView(folder, run=store.path) as view:
        for event in store.read_events():
            view(event)
        wrote, path = view.wrote, view.path
    if not wrote or path is None:
        raise UserError(f"{store.path} has said nothing yet that TensorBoard shows: there is nothing to write")
    return path


def _row(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images beside each other, with a gap: (H, W, 3)."""
    framed = np.pad(tiles, ((0, 0), (0, 0), (GAP_PX, GAP_PX), (GAP_PX, GAP_PX)))
    color = np.broadcast_to(framed, (len(framed), 3, *framed.shape[2:])).transpose(0, 2, 3, 1)
    return np.concatenate(list(color), axis=1)


def _hparams(cell: CellResult) -> tuple[dict[str, Any], dict[str, float]]:
    """What was chosen, and what came of it."""
    settings: dict[str, Any] = {"defense": cell.defense, "seed": cell.seed}
    for name, value in cell.params.items():
        settings[f"{cell.defense}.{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    reached = {"hparam/valid": float(cell.valid)}
    if cell.accuracy is not None:
        reached["hparam/accuracy"] = cell.accuracy
    best = cell.strongest_score
    for name in LEAKS if best is not None else ():
        value = getattr(best, name)
        if value is not None:
            reached[f"hparam/{name}"] = value
    return settings, reached
