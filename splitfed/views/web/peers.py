"""Which user of this machine is at the other end of a connection that does not leave it.

An address such as 127.0.0.1 is for all users of a machine, and the pages show images that are one user's alone. Linux
says whose a socket is; elsewhere the pages ask for a token (`port.new_token`).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

Address = tuple[str, int]

SOCKETS = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_LOCAL, _REMOTE, _USER = 1, 2, 7
"""Columns of these files."""


def is_mine(peer: Address, own: Address) -> bool:
    """Whether the socket at ``peer`` that is connected to ``own``, both on this machine, is this user's or root's."""
    return _user_of(peer, own) in (os.getuid(), 0)


@cache
def can_tell() -> bool:
    """Whether this system says whose a socket is."""
    if sys.platform != "linux":
        return False
    with suppress(OSError), closing(socket.create_server(("127.0.0.1", 0))) as listening:
        address = listening.getsockname()
        with closing(socket.create_connection(address, timeout=1)) as asking:
            return is_mine(asking.getsockname(), address)
    return False


def _user_of(peer: Address, own: Address) -> int | None:
    """The number of the user whose socket is at ``peer``; None where there is no such socket."""
    try:
        wanted = _in_hex(peer), _in_hex(own)
        lines = SOCKETS[ipaddress.ip_address(peer[0]).version].read_text(encoding="ascii").splitlines()[1:]
    except (OSError, ValueError):
        return None
    for columns in map(str.split, lines):
        if (columns[_LOCAL], columns[_REMOTE]) == wanted:
            return int(columns[_USER])
    return None


def _in_hex(address: Address) -> str:
    """As the kernel writes it: words of 32 bits in this machine's order of bytes, then the port.

    >>> _in_hex(("127.0.0.1", 8700)) in ("0100007F:21FC", "7F000001:21FC")
    True
    """
    packed = ipaddress.ip_address(address[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
