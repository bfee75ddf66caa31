"""Reports of training steps from other processes of this machine, without anyone waiting for them.

Each is a datagram on a socket in a folder that nobody else may enter. One that finds no room is dropped: it is for
whoever watches, and no result depends on it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from splitfed.federation.client import OnStep, StepReport

_SOCKET = "steps"
_LARGEST = 4096
"""Bytes of one report, at most."""


def send(folder: Path, report: StepReport) -> None:
    """Send a report to whoever hears in this folder; its bytes are those of its round."""
    with suppress(OSError):  # no room, or nobody hears any more
        _out().sendto(json.dumps(vars(report)).encode(), str(folder / _SOCKET))


@cache
def _out() -> socket.socket:
    """This process's own, from which it never waits."""
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.setblocking(False)
    return out


@contextmanager
def heard(folder: Path, on_step: OnStep) -> Iterator[None]:
    """While it lasts, `on_step` gets the reports that come into this folder, with a client's bytes of all rounds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(folder / _SOCKET))
        thread = threading.Thread(target=_hear, args=(ours, _Totals(on_step)), name="steps", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ours.getsockname())
            thread.join()


def _hear(ours: socket.socket, on_step: OnStep) -> None:
    while said := ours.recv(_LARGEST):
        on_step(StepReport(**json.loads(said)))


class _Totals:
    """Adds the bytes of a client's earlier rounds to those of the present one."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._bytes: dict[int, dict[int, int]] = defaultdict(dict)

    def __call__(self, report: StepReport) -> None:
        of_client = self._bytes[report.client]
        of_client[report.round] = report.sent_bytes
        self._on_step(StepReport(**{**vars(report), "sent_bytes": sum(of_client.values())}))
