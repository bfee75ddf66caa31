"""A relay in a process of its own, so that a test can kill it."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

_PROGRAM = """
import sys
from splitfed.wire.relay import Relay
with Relay(sys.argv[1]) as relay:
    print(relay.address, flush=True)
    sys.stdin.read()
"""


class RelayProcess:
    """Relays to ``upstream`` until it is killed."""

    def __init__(self, upstream: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, upstream],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def kill(self) -> None:
        """SIGKILL: it gets to do nothing more."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open, and nothing moves on them."""
        self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
