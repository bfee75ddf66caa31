"""Malformed inputs by the thousand, for the server, the relay, and the tap; see `command`."""

from splitfed.bench.fuzz.command import main

__all__ = ["main"]
