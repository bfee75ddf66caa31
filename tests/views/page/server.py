"""The server of the live view, as a process that can be killed and started again at the same address."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType

READY_S = 60


class WatchServer:
    """``splitfed watch`` over a directory, with these options; a context manager."""

    def __init__(self, path: Path, *options: str) -> None:
        self._path = path
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self.address = ""

    def __enter__(self) -> WatchServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, at the address that it had before."""
        command = [
            sys.executable,
            "-m",
            "splitfed",
            "watch",
            str(self._path),
            "--no-browser",
            "--port",
            str(self._port),
            *self._options,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found, said + self._process.stdout.read()
        self.address, self._port = found[0], int(found[1])

    def kill(self) -> None:
        """End it without a word, as a machine that goes to sleep does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(READY_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
