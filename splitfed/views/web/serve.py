"""Serving the live view until this process is told to end."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import uvicorn

from splitfed.views.web.app import WebView
from splitfed.views.web.port import LOOPBACK

if TYPE_CHECKING:
    from splitfed.views.web.catalog import Catalog

SHUTDOWN_S = 4
"""For streams to end, which takes them `stream.LAST_S` at most."""
MOST_CONNECTIONS = 256
"""At a time; streams have a bound of their own, which says so in words."""


def serve(
    catalog: Catalog,
    listening: socket.socket,
    *,
    host: str = LOOPBACK,
    token: str | None = None,
    speed: float | None = None,
    ends_with: int | None = None,
) -> None:
    """Serve until this process is told to end.

    Args:
        catalog: the runs that are shown.
        listening: from `port.listen`; closed at the end.
        host: what it is bound to.
        token: from `port.new_token`.
        speed: how fast pages replay a finished run at first.
        ends_with: the descriptor of a pipe whose other end is held by the process that this one belongs to.

    Raises:
        KeyboardInterrupt: it was told so by a signal.
    """
    server = _Server()
    view = WebView(catalog, host=host, token=token, drop=server.drop, speed=speed)
    server.of(view)
    if ends_with is not None:
        threading.Thread(target=server.end_with, args=(ends_with,), daemon=True, name="life line").start()
    with closing(listening):
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, which ends streams when it ends, and cuts a connection that is not read."""

    def __init__(self) -> None:
        self._view: WebView | None = None

    def of(self, view: WebView) -> None:
        self._view = view
        super().__init__(
            uvicorn.Config(
                view.app,
                http="h11",  # the one that is always there
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=SHUTDOWN_S,
                limit_concurrency=MOST_CONNECTIONS,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Have all streams end, then close."""
        assert self._view is not None
        self._view.closing.set()
        await super().shutdown(sockets)

    def drop(self, client: tuple[str, int]) -> None:
        """Cut the connection of this peer at once, with all that is still to be sent."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    def end_with(self, descriptor: int) -> None:
        """End once this pipe closes."""
        while os.read(descriptor, 4096):
            pass
        self.should_exit = True
