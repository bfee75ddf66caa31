"""Whether a role is ready, for whoever starts it: GET /health."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from splitfed.wire.address import cannot_listen, split_address

DEADLINE_S = 5.0
"""For one request."""


class Health:
    """Answers GET /health with 200 once `ready` is set, with 503 before; a context manager.

    Args:
        address: ``host:port`` to listen on; None for nothing at all.
        ready: set by the role.

    Raises:
        UserError: it cannot be listened on.
    """

    def __init__(self, address: str | None, ready: threading.Event) -> None:
        self._server: ThreadingHTTPServer | None = None
        if address is None:
            return

        class Handler(BaseHTTPRequestHandler):
            timeout = DEADLINE_S

            def do_GET(self) -> None:
                known = self.path == "/health"
                self.send_response(404 if not known else 200 if ready.is_set() else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """A probe every few seconds is nothing to write down."""

        try:
            self._server = ThreadingHTTPServer(split_address(address), Handler)
        except OSError as error:
            raise cannot_listen(address, error) from None

    @property
    def port(self) -> int:
        """Where it listens; 0 where it does not."""
        return 0 if self._server is None else int(self._server.server_address[1])

    def __enter__(self) -> Health:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, daemon=True, name="health").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
