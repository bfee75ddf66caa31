"""The live view shows the facts at every moment of a run, in every terminal, and never fails the run."""

from __future__ import annotations

import errno
import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from splitfed.records import events
from splitfed.records.strips import as_tiles, load_strip, save_strip
from splitfed.views.terminal.console import ViewConsole
from splitfed.views.terminal.half_blocks import StripPicture, fit
from splitfed.views.terminal.live import LiveView
from splitfed.views.text import SYNTHETIC
from tests.views.fabricated import TILE, cell_result, images, not_trained, run_events

SIZES = [(80, 24), (80, 40), (160, 50)]


def console(width: int, height: int, *, colors: bool = True) -> Console:
    return Console(
        width=width, height=height, file=io.StringIO(), record=True, force_terminal=True,
        color_system="truecolor" if colors else None, no_color=not colors, _environ={},
    )  # fmt: skip


def shown(listed: list[events.Event], width: int = 80, height: int = 40, *, colors: bool = True) -> list[str]:
    """The lines of the frame after these events."""
    screen = console(width, height, colors=colors)
    view = LiveView(screen, clock=lambda: listed[-1].time_s)
    for event in listed:
        view(event)
    screen.print(view.frame())
    return screen.export_text().splitlines()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[events.Event]:
    return run_events(tmp_path_factory.mktemp("run"), synthetic=True)


def second_attack(run: list[events.Event]) -> list[events.Event]:
    """The run up to the attacks after the last round of its second cell."""
    place = max(i for i, e in enumerate(run) if isinstance(e, events.AttackProgress) and e.cell.startswith("lap"))
    return run[: place - 1]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_frame_shows_every_fact_and_fits(run: list[events.Event], width: int, height: int) -> None:
    lines = shown(second_attack(run), width, height)
    text = "\n".join(lines)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    for fact in (SYNTHETIC, "cell 2 of 3", "laplace-seed0", "left", "round", "images/s", "sent", "PSNR", "SSIM"):
        assert fact in text
    assert sum("▀" in line for line in lines) >= 8
    assert "none-seed0        0.992     28.5  0.850  86.0 %" in text.replace("none-seed0     ", "none-seed0        ")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (40, 10)])
def test_no_moment_of_a_run_breaks_the_frame(run: list[events.Event], width: int, height: int) -> None:
    screen = console(width, height)
    view = LiveView(screen, clock=lambda: run[0].time_s)
    screen.print(view.frame())
    for number, event in enumerate(run):
        view(event)
        if number % 25 == 0 or not isinstance(event, events.ClientProgress | events.PrepareProgress):
            screen.print(view.frame())
    assert len(screen.export_text()) > 0


def test_clients_have_a_line_each_and_many_end_in_a_sum() -> None:
    listed: list[events.Event] = [
        events.RunStarted(scenario="s", run_dir=".", threat="split", dataset="d", synthetic=False, cells=("a",)),
        events.CellStarted(cell="a", defense="none", seed=0, rounds=2, clients=20),
    ]
    listed += [
        events.ClientProgress(
            cell="a", round=1, client=n, step=3, steps=9, loss=n + 0.5, images_per_s=100.0, sent_bytes=1000
        )
        for n in range(20)
    ]
    text = "\n".join(shown(listed))
    assert "4/9  4.500" in text
    assert "14 more" in text
    assert "1,400  14 kB" in text


def test_reasons_in_square_brackets_are_shown_as_they_are(run: list[events.Event]) -> None:
    lost = events.ClientLost(cell="laplace-seed0", round=5, client=1, reason="[/bold] [Errno 111]")
    text = "\n".join(shown([*second_attack(run), lost, events.Notice(message="[red]x[/red]")], 100, 60))
    assert "[/bold] [Errno 111]" in text
    assert "warning: [red]x[/red]" in text


def test_a_missing_or_garbled_strip_leaves_the_last_good_one(run: list[events.Event], tmp_path: Path) -> None:
    listed = second_attack(run)
    report = next(e for e in reversed(listed) if isinstance(e, events.AttackProgress))
    garbled = tmp_path / "garbled.png"
    garbled.write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    for strip, tile in ((str(garbled), TILE), ("nowhere.png", TILE), (report.strip, 0), (report.strip, 10**6)):
        broken = events.AttackProgress(
            cell=report.cell, attack="decoder", round=5, epoch=1, train_loss=0.0, ssim=1.0, strip=strip, strip_tile=tile
        )
        assert any("▀" in line for line in shown([*listed, broken]))


def test_the_strip_is_that_of_the_attack_that_is_ahead(run: list[events.Event]) -> None:
    report = next(e for e in reversed(second_attack(run)) if isinstance(e, events.AttackProgress))
    control = report.model_copy(update={"attack": "untrained", "psnr_db": 8.1, "ssim": 0.02})
    assert any("what decoder makes" in line for line in shown([*second_attack(run), control]))
    ahead = report.model_copy(update={"attack": "whitebox", "psnr_db": 31.0, "ssim": 0.93})
    assert any("what whitebox makes" in line for line in shown([*second_attack(run), ahead]))


def test_without_any_good_strip_the_figures_are_shown(run: list[events.Event]) -> None:
    lost = [e.model_copy(update={"run_dir": "/nowhere"}) if isinstance(e, events.RunStarted) else e for e in run]
    text = "\n".join(shown(second_attack(lost)))
    assert "▀" not in text
    assert "decoder" in text


def test_the_live_display_can_be_fed_from_many_threads(run: list[events.Event]) -> None:
    screen = console(80, 40)
    with LiveView(screen) as view:

        def feed(part: list[events.Event]) -> None:
            for event in part:
                view(event)

        view(run[0])
        feeders = [threading.Thread(target=feed, args=(run[n::4],)) for n in range(4)]
        for feeder in feeders:
            feeder.start()
        for feeder in feeders:
            feeder.join()
        view(events.Notice(message="client 2 left"))
    assert screen.export_text().rstrip().endswith("warning: client 2 left")


@pytest.mark.parametrize("channels", [1, 3])
def test_half_blocks_show_the_pixels_themselves(channels: int) -> None:
    strip = np.zeros((2, 2, 3), dtype=np.uint8)
    strip[0, 0, :channels] = 200  # the original's first pixel; the reconstruction below it stays black
    screen = console(80, 40)
    screen.print(StripPicture(strip, 1))
    upper = (200,) * channels + (0,) * (3 - channels)
    assert "\x1b[38;2;{};{};{};48;2;0;0;0m▀".format(*upper) in screen.export_text(styles=True)


def test_without_colors_the_picture_is_shaded() -> None:
    strip = np.array([[0, 255], [0, 255]], dtype=np.uint8)[:, :, None].repeat(3, axis=2)
    screen = console(80, 40, colors=False)
    screen.print(StripPicture(strip, 1))
    assert screen.export_text().rstrip("\n") == " █"


@pytest.mark.parametrize(("columns", "rows"), [(80, 14), (160, 28), (20, 9), (7, 3)])
def test_a_strip_is_shrunk_to_its_room_in_proportion(columns: int, rows: int) -> None:
    strip = np.concatenate([np.concatenate(list(as_tiles(images(8))), axis=1)] * 2)
    canvas = fit(strip, TILE, columns=columns, rows=rows)
    height, width = canvas.shape[:2]
    assert height % 2 == 0
    assert height // 2 <= rows
    assert width <= columns
    assert width % (height // 2) == 0  # square tiles stay square: as many pixels high as columns wide


def test_tiles_are_never_enlarged() -> None:
    strip = np.zeros((16, 32, 3), dtype=np.uint8)
    assert fit(strip, 8, columns=500, rows=100).shape == (16, 32, 3)


def test_a_strip_holds_originals_above_reconstructions(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "strip.png"
    tile = save_strip(path, images(3), 1 - images(3))
    strip = load_strip(path)
    assert strip is not None
    assert strip.shape == (2 * TILE, 3 * TILE, 3)
    upper, lower = strip[:TILE, tile : 2 * tile].astype(int), strip[TILE:, tile : 2 * tile].astype(int)
    assert np.abs(upper + lower - 255).max() <= 1
    assert [p.name for p in path.parent.iterdir()] == ["strip.png"]


def test_images_of_other_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ"):
        save_strip(tmp_path / "a.png", images(2), images(3))
    with pytest.raises(ValueError, match="want images"):
        as_tiles(np.zeros((2, 28, 28)))


def test_values_out_of_range_are_clamped() -> None:
    wild = np.array([-1.0, 2.0, np.nan, 0.5], dtype=np.float32).reshape(1, 1, 2, 2)
    assert as_tiles(wild)[0, :, :, 0].tolist() == [[0, 255], [0, 128]]


def test_images_being_decoded_are_shown_before_the_first_cell() -> None:
    def decoded(done: int) -> events.PrepareProgress:
        return events.PrepareProgress(cell="data", what="decoding medical_mnist", done=done, total=400)

    assert "decoding medical_mnist" in "\n".join(shown([decoded(120)]))
    assert "decoding" not in "\n".join(shown([decoded(120), decoded(400)]))


def test_the_next_cell_is_shown_once_one_ended_without_scores_or_without_a_result(run: list[events.Event]) -> None:
    started, first, second, third = [e for e in run if isinstance(e, events.RunStarted | events.CellStarted)]
    lines = shown(
        [
            started,
            first,
            events.CellFinished(cell="none-seed0", result=not_trained(cell_result())),
            second,
            events.CellUnfinished(cell="laplace-seed0", reason="its process was killed"),
            third,
        ]
    )
    text = "\n".join(lines)
    assert "cell 3 of 3" in text
    assert "cannot be trained" in text
    assert "INVALID" in text
    assert "laplace-seed0 is unfinished: its process was killed" in text


class GoneTerminal(io.StringIO):
    """A terminal whose window was closed: the first write after ``close_window`` fails, and all after it."""

    gone = False
    refused = 0

    def write(self, text: str) -> int:
        if self.gone:
            self.refused += 1
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def test_a_terminal_that_is_closed_is_drawn_to_no_more(run: list[events.Event]) -> None:
    terminal = GoneTerminal()
    screen = ViewConsole(file=terminal, force_terminal=True, width=80, height=40, _environ={})
    with LiveView(screen, clock=lambda: 0.0) as view:
        view(run[0])
        view._live.refresh()
        terminal.gone = True
        view._live.refresh()
        refused = terminal.refused
        assert refused >= 1
        view._live.refresh()
        assert terminal.refused == refused


def test_a_reader_that_left_ends_no_process() -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, text[:0])

    with pytest.raises(BrokenPipeError):
        ViewConsole(file=Left()).print("a")


def text_of(view: LiveView, screen: Console) -> str:
    screen.print(view.frame())
    return screen.export_text()


def test_keys_choose_what_is_shown(run: list[events.Event]) -> None:
    screen, listed = console(100, 50), second_attack(run)
    view = LiveView(screen, clock=lambda: listed[-1].time_s)
    view.press("c")
    view.press("a")  # before there is anything to choose from
    for event in listed:
        view(event)
    assert "shown:" not in text_of(view, screen)
    view.press("c")
    assert "shown: none-seed0 (f follows the run again)" in text_of(view, screen)
    captions = []
    for _ in range(3):
        view.press("a")
        captions += re.findall(r"what (\w+) makes of the wire", text_of(view, screen))
    assert captions == [captions[0], captions[1], captions[0]]
    assert set(captions) == {"ridge", "decoder"}
    view.press("x")
    assert "shown: none-seed0" in text_of(view, screen)
    view.press("c")
    assert "shown: laplace-seed0" in text_of(view, screen)
    view.press("f")
    assert "shown:" not in text_of(view, screen)


def test_what_was_chosen_stays_while_the_run_goes_on(run: list[events.Event]) -> None:
    screen = console(100, 50)
    view = LiveView(screen, clock=lambda: run[-1].time_s)
    chosen = False
    for event in run:
        view(event)
        if isinstance(event, events.RoundFinished) and not chosen:
            chosen = True
            view.press("c")
    assert "shown: none-seed0" in text_of(view, screen)


def test_re_identification_is_shown_of_attacks_that_go_on(run: list[events.Event]) -> None:
    listed = second_attack(run)
    latest = [event for event in listed if isinstance(event, events.AttackProgress)][-1]
    assert latest.reid_top1
    (line,) = [line for line in shown(listed, 100, 50) if line.startswith(latest.attack) and "." in line]
    assert line.split()[-2:] == [f"{100 * latest.reid_top1:.1f}", "%"]
