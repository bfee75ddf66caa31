"""The lab's end of the attacker's process: start it, feed it what a participant knows, listen to it, stop it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import TracebackType

import torch
from pydantic import ValidationError

from splitfed.attacker import messages
from splitfed.attacker.config import AttackerConfig, Final, forget_fronts, front_path
from splitfed.errors import AttackError
from splitfed.files import write_whole
from splitfed.models.front import Front

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 5.0
PATIENT = {"GOMP_SPINCOUNT": "1000"}
"""Threads that wait for each other spin for microseconds, then sleep: long spinning is ruinous beside other work on the
same cores, and going to sleep at once takes more time than sharing small operations saves."""


class AttackerHandle:
    """A running attacker; a context manager that leaves no process behind.

    ``on_message`` is called, from a thread of its own, with everything that the attacker says.
    """

    def __init__(self, config: AttackerConfig, on_message: Callable[[messages.Message], None]) -> None:
        self.config = config
        self._on_message = on_message
        self._listening: queue.Queue[str] = queue.Queue()
        self._done = threading.Event()
        self._fault: Exception | None = None
        self._process: subprocess.Popen[str] | None = None
        self._log = config.out / "attacker.log"

    def start(self) -> str:
        """Start the process; returns the relay's address.

        Raises:
            AttackError: it did not listen within the deadline; the message quotes its log.
        """
        self.config.out.mkdir(parents=True, exist_ok=True)
        (self.config.knowledge / "fronts").mkdir(parents=True, exist_ok=True)
        config_path = self.config.out / "attacker.json"
        write_whole(config_path, json.dumps(self.config.model_dump(mode="json"), indent=2).encode())
        self._process = self._spawn(config_path)
        threading.Thread(target=self._listen, daemon=True, name="attacker").start()
        try:
            return self._listening.get(timeout=START_DEADLINE_S)
        except queue.Empty:
            self.stop()
            raise AttackError(f"the attacker did not start: {self.last_words()}") from None

    def _spawn(self, config_path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "splitfed", "attacker", "--config", str(config_path)]
        try:
            with self._log.open("w", encoding="utf-8") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    encoding="utf-8",  # whatever the locale: both ends are this program
                    errors="replace",
                    env={**PATIENT, **os.environ},
                    start_new_session=True,  # Ctrl-C reaches the lab alone, which then ends the attacker
                )
        except OSError as error:
            raise AttackError(f"the attacker's process cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def publish_front(self, round_number: int, front: Front) -> None:
        """Let the attacker have the front that every participant gets at the start of this round."""
        content = BytesIO()
        torch.save(front.state_dict(), content)
        write_whole(front_path(self.config.knowledge, round_number), content.getvalue())
        if self.config.keep_rounds:  # the observations of a round are under its front, up to the next one
            forget_fronts(self.config.knowledge, before=round_number - self.config.keep_rounds)

    def finish(self, final: Final, deadline_s: float) -> None:
        """Say that training is over, and wait for the attacks to end.

        Raises:
            AttackError: the process died, or was not done within the deadline.
            Exception: what `on_message` raised.
        """
        final.save(self.config.knowledge)
        deadline = time.monotonic() + deadline_s
        while not self._done.wait(timeout=0.1):
            if self._fault is not None:
                raise self._fault
            if not self.alive and not self._done.wait(timeout=1.0):
                raise AttackError(f"the attacker's process ended before it was done: {self.last_words()}")
            if time.monotonic() > deadline:
                raise AttackError(f"the attacker was not done within {deadline_s:g} s (attacker.deadline_s)")

    def stop(self) -> None:
        """End the process, gently at first."""
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of what it wrote to its standard error."""
        text = self._log.read_text(encoding="utf-8", errors="replace").strip() if self._log.exists() else ""
        return text.splitlines()[-1] if text else f"it left no message (see {self._log})"

    def __enter__(self) -> AttackerHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            try:
                for line in lines:
                    self._hear(line)
            except Exception as error:  # a run whose record cannot be written, say: `finish` raises it
                self._fault = error

    def _hear(self, line: str) -> None:
        try:
            message = messages.parse(line)
        except ValidationError:
            message = messages.Warned(message=f"the attacker said something unexpected: {line.strip()[:200]}")
        if isinstance(message, messages.Listening):
            self._listening.put(message.address)
        self._on_message(message)
        if isinstance(message, messages.Done):
            self._done.set()
