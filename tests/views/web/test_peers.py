"""Whose a socket of this machine is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from splitfed.views.web.peers import is_mine


@pytest.fixture(params=["127.0.0.1", "::1"])
def connection(request: pytest.FixtureRequest) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Who asks, and who is asked."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listening = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {request.param}")
    with closing(listening), closing(socket.create_connection(listening.getsockname()[:2])) as asking:
        yield asking.getsockname()[:2], listening.getsockname()[:2]


def test_ones_own_is_known(connection: tuple[tuple[str, int], tuple[str, int]]) -> None:
    assert is_mine(*connection)


def test_that_of_another_user_is_not_ones_own(
    connection: tuple[tuple[str, int], tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: own + 1)
    assert is_mine(*connection) == (own == 0)  # root may see all


def test_one_that_is_not_there_is_nobodys(connection: tuple[tuple[str, int], tuple[str, int]]) -> None:
    peer, own = connection
    assert not is_mine(peer, (own[0], own[1] + 1))
    assert not is_mine(("far.example", 1), own)
