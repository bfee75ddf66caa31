"""What takes too long is ended, and what is being stopped is not waited for."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from splitfed.errors import LinkLost
from splitfed.wire.link import GrpcLink
from splitfed.wire.watchdog import Watchdog
from tests.wire.hosts import hello


def test_it_expires_once_when_its_time_has_come() -> None:
    expired = threading.Event()
    watchdog = Watchdog(0.05, expired.set)
    watchdog.arm(0.05)
    assert expired.wait(10)
    assert watchdog.expired


def test_being_stopped_ends_what_is_armed_and_nothing_else() -> None:
    stopped, expired = threading.Event(), threading.Event()
    watchdog = Watchdog(0.02, expired.set, stopped.is_set)
    stopped.set()
    assert not expired.wait(0.2)  # nothing is waited for
    watchdog.arm(600)
    assert expired.wait(10)


def test_a_link_to_one_who_never_answers_is_left_when_all_is_stopped() -> None:
    """As after Ctrl-C: the server is gone, and a relay takes the connection all the same."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        threading.Timer(0.5, stopped.set).start()
        began = time.monotonic()
        with pytest.raises(LinkLost, match="is being stopped"):
            GrpcLink([address], hello(), deadline_s=300, stopped=stopped.is_set)
        assert time.monotonic() - began < 30
