"""The lab hears everything once and in order, whatever becomes of single Messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from splitfed.roles.lab_line import LabLine
from splitfed.roles.lab_node import LabNode, Told
from splitfed.roles.lab_protocol import Happened, Over
from splitfed.roles.membership import Membership
from splitfed.runners.local_grid import LocalGrid

KEY = "0123456789abcdef"
Trouble = Callable[[int], None]


class Troubled(ClientApp):
    """Another app, whose answers are lost or which fails now and then."""

    def __init__(self, app: ClientApp, before: Trouble, after: Trouble) -> None:
        super().__init__()
        self._app, self._before, self._after = app, before, after
        self._calls = 0

    def __call__(self, message: Message, context: Context) -> Message:
        self._calls += 1
        self._before(self._calls)
        reply = self._app(message, context)
        self._after(self._calls)
        return reply


def nothing(_: int) -> None:
    """No trouble."""


def every_other(call: int) -> None:
    if call % 2:
        raise RuntimeError("trouble")


@contextmanager
def line(before: Trouble = nothing, after: Trouble = nothing, key: str = KEY) -> Iterator[tuple[LabLine, LabNode]]:
    lab = LabNode(Membership("127.0.0.1:1"))
    lab.begin(KEY)
    with LocalGrid(Troubled(lab.app, before, after), clients=1) as grid:
        yield LabLine(grid, lambda: 1, key), lab


def heard(lab: LabNode, count: int) -> list[Told]:
    return [told for told in (lab.next(5) for _ in range(count)) if told is not None]


@pytest.mark.parametrize(
    ("before", "after"),
    [(nothing, nothing), (every_other, nothing), (nothing, every_other)],
    ids=["no trouble", "not heard", "the answer is lost"],
)
def test_it_is_told_once_and_in_order(before: Trouble, after: Trouble) -> None:
    with line(before, after) as (server, lab):
        for number in range(30):
            server.tell(Happened(event=str(number)), {f"attack/{number}.npz": bytes([number])})
            time.sleep(0.01 * (number % 3))
        server.tell(Over())
        assert server.close()
        told = heard(lab, 31)
        assert [piece.news for piece in told[:-1]] == [Happened(event=str(number)) for number in range(30)]
        assert told[-1].news == Over()
        assert lab.next(0.1) is None


def test_files_arrive_as_they_were_sent() -> None:
    content = bytes(range(256)) * 1000
    with line() as (server, lab):
        server.tell(Happened(event="x"), {"attack/a.npz": content, "observations/b.obs": b""})
        assert server.close()
        (told,) = heard(lab, 1)
        assert told.files == {"attack/a.npz": content, "observations/b.obs": b""}


def test_whoever_does_not_hold_the_order_is_not_heard() -> None:
    with line(key="another key, another lab") as (server, lab):
        server.tell(Over())
        threading.Event().wait(0.5)
        assert lab.next(0.1) is None
