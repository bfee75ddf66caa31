"""Reports of steps reach who watches, whoever sent them; without anyone there they are dropped."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splitfed.federation.client import StepReport
from splitfed.runners import step_reports

REPORT = StepReport(round=1, client=3, step=0, steps=2, loss=0.5, images_per_s=10.0, sent_bytes=100)


@pytest.fixture(autouse=True)
def _own_socket() -> Iterator[None]:
    yield
    step_reports._out().close()
    step_reports._out.cache_clear()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: the name of a socket has at most a hundred characters."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def heard(folder: Path, *reports: StepReport) -> list[StepReport]:
    """What arrives of these, in order."""
    seen: list[StepReport] = []
    with step_reports.heard(folder, seen.append):
        for report in reports:
            step_reports.send(folder, report)
    return seen


def test_what_was_sent_is_heard_before_it_ends(folder: Path) -> None:
    assert heard(folder, REPORT, replace(REPORT, client=0)) == [REPORT, replace(REPORT, client=0)]


def test_bytes_of_a_clients_earlier_rounds_are_added(folder: Path) -> None:
    sent = [REPORT, replace(REPORT, step=1, sent_bytes=200), replace(REPORT, round=2, sent_bytes=150)]
    other = replace(REPORT, client=0, round=2, sent_bytes=7)
    assert [report.sent_bytes for report in heard(folder, *sent, other)] == [100, 200, 350, 7]


def test_another_process_is_heard(folder: Path) -> None:
    seen: list[StepReport] = []
    send = f"""
from pathlib import Path
from splitfed.federation.client import StepReport
from splitfed.runners import step_reports
step_reports.send(Path({str(folder)!r}), {REPORT!r})
"""
    with step_reports.heard(folder, seen.append):
        subprocess.run([sys.executable, "-c", send], check=True, timeout=120)
    assert seen == [REPORT]


def test_nobody_waits_for_one_who_does_not_hear(folder: Path) -> None:
    step_reports.send(folder, REPORT)  # nobody is there
    held = threading.Event()
    began = time.monotonic()

    def wait(_: StepReport) -> None:
        held.wait(60)

    with step_reports.heard(folder, wait):
        for _ in range(20_000):
            step_reports.send(folder, REPORT)
        assert time.monotonic() - began < 50
        held.set()
