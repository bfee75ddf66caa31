"""TensorBoard reads back what a run said: scalars, pictures and hparams, live or afterwards."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from splitfed.errors import UserError
from splitfed.records import events
from splitfed.records.sheets import save_sheet, save_sheets
from splitfed.records.store import RunStore
from splitfed.records.wall import Victims, WallFolder
from splitfed.views.tensorboard import TensorBoardView, write
from tests.views.fabricated import images, manifest, run_events


@pytest.fixture
def run(tmp_path: Path) -> RunStore:
    """A finished run with two moments on its wall, of which one is gone."""
    with RunStore.create(tmp_path / "runs", "small", manifest()) as store:
        wall, shown = WallFolder(store.path), images(6)
        height, width = shown.shape[2:]
        wall.save_victims(
            Victims(
                schema=1,
                height=height,
                width=width,
                channels=1,
                count=6,
                of=6,
                classes=("Hand",),
                label=(0,) * 6,
                client={"0": (0,) * 6},
                sheets=save_sheets(wall.make(), "originals", shown),
                candidates=6,
            )
        )
        for event in run_events(store.path):
            store.append_event(event)
            if isinstance(event, events.CellStarted):
                save_sheet(wall.make(event.cell) / "ridge@4.png", images(2, blur=0.5))
                for number, sheet in enumerate(["gone.png", "ridge@4.png"]):
                    store.append_event(_moment(event.cell, 4 * number, sheet))
    return store


def _moment(cell: str, number: int, sheet: str) -> events.WallMoment:
    return events.WallMoment(
        cell=cell, attack="ridge", round=1, epoch=1, number=number, sheet=sheet, victims=(0, 1), time_s=5.0
    )


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def said(run: RunStore, kind: type[events.Event], cell: str) -> list[Any]:
    return [event for event in run.read_events() if isinstance(event, kind) and getattr(event, "cell", cell) == cell]


def test_scalars_are_those_of_the_events(run: RunStore) -> None:
    folder = write(run)
    assert folder == run.path / "tensorboard"
    cell = "none-seed0"
    found = read(folder / run.path.name / cell)
    rounds = said(run, events.RoundFinished, cell)
    assert rounds
    assert [(e.step, e.wall_time) for e in found.Scalars("training/loss")] == [(r.round, r.time_s) for r in rounds]
    assert np.allclose([e.value for e in found.Scalars("training/accuracy")], [r.accuracy for r in rounds])
    reports = [report for report in said(run, events.AttackProgress, cell) if report.attack == "ridge"]
    assert np.allclose([e.value for e in found.Scalars("attacks/ridge/psnr_db")], [r.psnr_db for r in reports])
    steps = [step for step in said(run, events.ClientProgress, cell) if step.client == 1]
    assert np.allclose([e.value for e in found.Scalars("clients/1/loss")], [s.loss for s in steps])


def test_pictures_show_originals_above_what_was_made_of_them(run: RunStore) -> None:
    folder = write(run)
    found = read(folder / run.path.name / "none-seed0")
    (shown,) = found.Images("wall/ridge")
    assert shown.step == 4
    picture = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    height, width = images(1).shape[2:]
    assert picture.shape == (2 * (height + 2), 2 * (width + 2), 3)
    for row, tiles in enumerate((images(6)[:2], images(2, blur=0.5))):
        tile = picture[row * (height + 2) + 1 :][:height, 1 : 1 + width, 0]
        assert np.abs(tile / 255 - tiles[0, 0]).max() <= 0.51 / 255


def test_hparams_are_what_was_chosen_and_what_came_of_it(run: RunStore) -> None:
    folder = write(run)
    cells = [event.result for event in run.read_events() if isinstance(event, events.CellFinished)]
    for cell in cells:
        found = read(folder / run.path.name / cell.cell)
        content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        chosen = HParamsPluginData.FromString(content).session_start_info.hparams
        assert chosen["defense"].string_value == cell.defense
        assert chosen["seed"].number_value == cell.seed
        for name, value in cell.params.items():
            assert chosen[f"{cell.defense}.{name}"].number_value == value
        best = cell.strongest_score
        assert best is not None
        reached = {tag: found.Scalars(tag)[-1].value for tag in found.Tags()["scalars"] if tag.startswith("hparam/")}
        assert reached == pytest.approx(
            {
                "hparam/valid": 1.0,
                "hparam/accuracy": cell.accuracy,
                "hparam/psnr_db": best.psnr_db,
                "hparam/ssim": best.ssim,
                "hparam/reid_top1": best.reid_top1,
            }
        )


def test_a_run_that_goes_on_is_written_as_it_goes(run: RunStore, tmp_path: Path) -> None:
    with TensorBoardView(tmp_path / "board") as view:
        assert not view.wrote
        for event in run.read_events():
            view(event)
    assert view.path == tmp_path / "board"
    live, afterwards = (
        read(tmp_path / "board" / run.path.name / "sca-seed0"),
        read(write(run, tmp_path / "again") / run.path.name / "sca-seed0"),
    )
    assert live.Tags()["scalars"] == afterwards.Tags()["scalars"] != []
    for tag in live.Tags()["scalars"]:
        assert live.Scalars(tag) == afterwards.Scalars(tag)


def test_a_run_that_said_nothing_is_refused(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, "small", manifest())
    with pytest.raises(UserError, match="has said nothing yet"):
        write(store)
