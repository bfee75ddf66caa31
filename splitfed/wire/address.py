"""Addresses of the wire: ``host:port``, an IPv6 host in brackets; and what to say where one cannot be used."""

from __future__ import annotations

import errno
import ipaddress
import socket

from splitfed.errors import UserError

MOST_PORT = 65535


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; the host without brackets.

    >>> split_address("127.0.0.1:9000")
    ('127.0.0.1', 9000)
    >>> split_address("[::1]:9000")
    ('::1', 9000)

    Raises:
        UserError: it is not of that form.
    """
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) <= MOST_PORT and _is_host(host)):
        raise UserError(
            f"address {address!r}: want host:port with a port up to {MOST_PORT}, as in 127.0.0.1:9000 or [::1]:9000"
        )
    if host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1]):
        return host[1:-1], int(port)
    if set(host) & set("[]:"):
        raise UserError(f"address {address!r}: want an IPv6 host in brackets, as in [::1]:9000")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The address that `split_address` takes apart.

    >>> join_address("::1", 9000)
    '[::1]:9000'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def busy(address: str, reason: str) -> UserError:
    """What to say when ``address`` cannot be listened on."""
    host, port = split_address(address)
    return UserError(
        f"cannot listen on port {port} of {host} ({reason}): stop the program that uses it, "
        f"or give another port; port 0 takes any free one"
    )


def cannot_listen(address: str, error: OSError) -> UserError:
    """What to say when the system refused to listen on ``address``; the way out depends on why."""
    host, port = split_address(address)
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(f"cannot listen on port {port} of {host} ({reason}): give a port from 1024 on")
    if isinstance(error, socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return UserError(
            f"cannot listen on {host} ({reason}): want an address of this machine, "
            "as 127.0.0.1 or [::1], or 0.0.0.0 or [::] for all of them"
        )
    return busy(address, reason)


def _is_host(host: str) -> bool:
    try:
        return bool(host.encode("idna")) and host.split() == [host]
    except UnicodeError:  # a part of a name that is empty or too long
        return False


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
