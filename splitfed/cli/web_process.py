"""The page of a run that goes on: a process of its own that follows the run's directory, unnoticed by the run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import IO

from splitfed.cli import output
from splitfed.records.events import Event, RunStarted
from splitfed.runners import child
from splitfed.views.web import port

STOP_S = 10.0
MOST_CHARACTERS = 500
"""Of what a page's process says at its end."""


class WebProcess:
    """A subscriber of `records.bus.Bus` that starts the page once the run has a directory; a context manager.

    The port is taken at once, so that a busy one is said before the run begins; a browser that comes early waits.

    Args:
        number: the port; None for the first free one.

    Raises:
        UserError: the port is busy.
    """

    def __init__(self, number: int | None) -> None:
        self._listening = port.listen(port=number)
        self._token = port.new_token(port.LOOPBACK)
        self.address = port.address(self._listening, self._token)
        """What to open in a browser."""
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the exit

    @property
    def alive(self) -> bool:
        """Whether the page is served."""
        return self._process is not None and self._process.poll() is None

    def __call__(self, event: Event) -> None:
        """Start it when the run starts."""
        if isinstance(event, RunStarted) and self._process is None:
            self._start(event.run_dir)

    def wait(self) -> None:
        """Serve on until this process is interrupted, or the page's ends."""
        with suppress(KeyboardInterrupt):
            if self._process is not None:
                self._process.wait()

    def __enter__(self) -> WebProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        if self._process is not None:
            self._end(self._process)
        self._said.close()

    def _start(self, run_dir: str) -> None:
        descriptor = self._listening.fileno()
        command = child.arguments("watch", run_dir, "--listening", str(descriptor), "--ends-with", "0")
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,  # closes with this process, however that ends
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            pass_fds=[descriptor],
            env={**child.environment(), **({port.TOKEN_VARIABLE: self._token} if self._token else {})},
            start_new_session=True,  # Ctrl-C reaches the run alone
        )
        self._listening.close()  # so that browsers do not wait for ever where that process ends

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            self._said.seek(0)
            words = self._said.read().decode(errors="replace").strip()
            output.complain(f"the page ended early with {process.returncode}: {words[-MOST_CHARACTERS:]}")
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
