"""A node comes, stays, and leaves, as the SuperLink sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flwr.clientapp import ClientApp
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from splitfed.errors import UserError
from splitfed.roles.membership import Membership
from splitfed.roles.node import FlowerNode
from tests.roles.conftest import free_address, running_superlink


class Serving:
    """A node at work in a thread."""

    def __init__(self, address: str) -> None:
        self.stopped = threading.Event()
        self.times_ready = 0
        self.error: Exception | None = None
        self._address = address
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Serving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def until_ready(self, times: int = 1, patience_s: float = 60) -> None:
        deadline = time.monotonic() + patience_s
        while self.times_ready < times:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _serve(self) -> None:
        try:
            with FlowerNode(ClientApp(), Membership(self._address), self.stopped) as node:
                node.serve(self._ready)
        except UserError as error:
            self.error = error

    def _ready(self) -> None:
        self.times_ready += 1


@contextmanager
def control(address: str) -> Iterator[ControlHttpClient]:
    interceptors = [RuntimeVersionHttpInterceptor(component_name="CLI")]
    with ControlHttpClient.from_server_address(address, True, None, interceptors=interceptors) as client:
        yield client


def online(address: str) -> list[str]:
    with control(address) as client:
        return [node.status for node in client.ListNodes(ListNodesRequest()).nodes_info if node.status == "online"]


def test_it_is_online_while_it_serves_and_gone_once_it_has_left(superlink: str) -> None:
    with Serving(superlink) as node:
        node.until_ready()
        assert online(superlink) == ["online"]
    assert online(superlink) == []


def test_it_waits_for_a_superlink_that_comes_later_and_joins_one_that_was_started_anew(tmp_path: Path) -> None:
    address = free_address()
    with Serving(address) as node:
        time.sleep(0.5)
        assert node.times_ready == 0
        with running_superlink(address, tmp_path):
            node.until_ready()
        with running_superlink(address, tmp_path):  # it has forgotten everyone
            node.until_ready(times=2)
            assert online(address) == ["online"]


def test_it_stops_at_once_where_no_superlink_can_be_reached() -> None:
    with Serving(free_address()) as node:
        time.sleep(0.3)
        began = time.monotonic()
        node.stopped.set()
    assert time.monotonic() - began < 5
    assert node.error is None


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    key = tmp_path / "node.key"
    key.write_text("no key")
    with pytest.raises(UserError, match=f"{key} is no private key"):
        FlowerNode(ClientApp(), Membership("127.0.0.1:1", key=key), threading.Event())
