"""Plain lines tell the same facts, sparsely, without terminal control."""

from __future__ import annotations

import io
from pathlib import Path

from splitfed.records import events
from splitfed.views.terminal.plain import PlainView
from splitfed.views.text import SYNTHETIC
from tests.views.fabricated import CELLS, broken, cell_result, not_trained, run_events, run_results


def lines_of(listed: list[events.Event], *, interval_s: float = 10.0) -> list[str]:
    stream = io.StringIO()
    view = PlainView(stream, interval_s=interval_s)
    for event in listed:
        view(event)
    return stream.getvalue().splitlines()


def test_a_run_is_told_in_lines(tmp_path: Path) -> None:
    lines = lines_of(run_events(tmp_path))
    text = "\n".join(lines)
    assert "\r" not in text
    assert "\x1b" not in text
    for cell in CELLS:
        assert f"{cell}: round 5 of 5 done, accuracy 0.9" in text
        assert f"{cell} finished: accuracy 0.9" in text
    assert "strongest attack decoder: PSNR 28.5 dB, SSIM 0.850, re-identified 86.0 %; valid" in text
    assert "images/s" in text
    assert "MB sent" in text
    assert lines[-1].endswith("finished, all cells valid")


def test_steps_and_epochs_are_rate_limited_and_results_are_not(tmp_path: Path) -> None:
    listed = run_events(tmp_path)
    rare, frequent = lines_of(listed, interval_s=1e9), lines_of(listed, interval_s=0.0)
    assert len([line for line in frequent if ", step " in line]) == 3 * 5 * 12
    assert len([line for line in rare if ", step " in line]) == 3  # the first of each cell
    for kept in ("done, accuracy", "final: PSNR", " finished: "):
        assert [line for line in rare if kept in line] == [line for line in frequent if kept in line]


def test_the_synthetic_banner_comes_first(tmp_path: Path) -> None:
    lines = lines_of(run_events(tmp_path, synthetic=True))
    assert SYNTHETIC in lines[1]
    assert "!!!!!!!!" in lines[0]
    assert not any("SYNTHETIC" in line for line in lines_of(run_events(tmp_path)))


def test_notices_losses_and_failed_gates_are_always_told() -> None:
    lines = lines_of(
        [
            events.Notice(message="attacker died"),
            events.Notice(message="two\nlines", level="banner"),
            events.ClientLost(cell="a", round=2, client=1, reason="link lost"),
            events.ClientLost(cell="a", round=0, client=2, reason="no images"),
            events.CellFinished(cell="sca-seed0", result=broken(cell_result("sca"))),
            events.CellFinished(cell="none-seed0", result=not_trained(cell_result(), "it diverged")),
            events.CellUnfinished(cell="laplace-seed0", reason="its process was killed"),
            events.RunFinished(results=run_results(broken(cell_result())), valid=False),
        ],
        interval_s=1e9,
    )
    text = "\n".join(lines)
    assert "warning: attacker died" in text
    assert "round 2 goes on without client 1: link lost" in text
    assert "the preparation goes on without client 2: no images" in text
    assert "INVALID, failed attack_learned" in text
    assert "none-seed0 cannot be trained: it diverged; INVALID" in text
    assert "laplace-seed0 is unfinished: its process was killed" in text
    assert lines[-1].endswith("INVALID: see the gates that failed")
    assert all(line.startswith("[") for line in lines)


def test_time_counts_from_the_first_event_of_whatever_kind() -> None:
    first = events.PrepareProgress(time_s=50.0, cell="data", what="decoding", done=1, total=2)
    later = events.Notice(time_s=125.0, message="done")
    assert [line[:11] for line in lines_of([first, later])] == ["[      0 s]", "[ 1:15 min]"]
