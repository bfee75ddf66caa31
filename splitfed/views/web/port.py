"""Where the page is: a port of one's own, and the address that leads there."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from contextlib import suppress
from urllib.parse import urlencode

from splitfed.errors import UserError

TOKEN = "token"
"""The name of the token in an address."""
LOOPBACK_NAMES = ("localhost",)
LOOPBACK = "127.0.0.1"
PORT = 8700
"""Where the page is by default, or at the next free port."""
TRIED_PORTS = 20
BACKLOG = 128


def listen(host: str = LOOPBACK, port: int | None = None) -> socket.socket:
    """A socket that listens there; without a port on `PORT` or one of those that follow.

    Raises:
        UserError: the port is busy or not for this user, or the host is none of this machine.
    """
    for candidate in [port] if port is not None else range(PORT, PORT + TRIED_PORTS):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, candidate), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            raise UserError(_no_port(host, candidate, error)) from None
        except OverflowError:
            raise UserError(f"--port {port}: a port is a number from 0 to 65535; 0 takes a free one") from None
    raise UserError(
        f"ports {PORT} to {PORT + TRIED_PORTS - 1} are all busy: name another with --port, 0 for a free one"
    )


def _no_port(host: str, port: int, error: OSError) -> str:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is busy: another program listens there. Name another port with --port, 0 for a free one"
    if error.errno == errno.EACCES:
        return f"{where}: this user may not listen there; take a port above 1023"
    return f"{where} cannot be listened on ({error.strerror or error}): --host names an address of this machine"


def new_token(host: str) -> str | None:
    """What pages elsewhere must know; none where only this machine can ask."""
    return None if is_loopback(host) else secrets.token_urlsafe(24)


def address(listening: socket.socket, token: str | None) -> str:
    """What to open in a browser."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?{urlencode({TOKEN: token})}" if token else "")


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this machine alone, whatever anybody's name server says."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
