"""The lab's end of the attacker's process: start it, feed it what a participant knows, listen to it, stop it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import BytesIO
from types import TracebackType

import torch
from pydantic import ValidationError

from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.protocol import FRONTS, Final, forget_fronts, front_path
from splitfed.errors import AttackError, UserError
from splitfed.experiment.last_words import exit_in_words, last_words
from splitfed.files import write_whole
from splitfed.models.front import Front
from splitfed.records.record import to_json
from splitfed.runners import child

logger = logging.getLogger(__name__)

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 5.0
HEAR_OUT_S = 60.0
"""How long what a process said before it ended may take to be worked off."""
POLL_S = 0.1


class AttackerProcess:
    """A running attacker; a context manager that leaves no process behind.

    ``on_message`` is called, from a thread of its own, with everything that the attacker says. Where it raises, that is
    reported once, and the next message is heard.
    """

    def __init__(self, config: AttackerConfig, on_message: Callable[[protocol.Message], None]) -> None:
        self.config = config
        self._on_message = on_message
        self._address: str | None = None
        self._listening = threading.Event()
        self._done = threading.Event()
        self._heard_out = threading.Event()
        self._awaited = False
        """Whether somebody waits for its end."""
        self._reported: set[str] = set()
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._log = config.out / "attacker.log"

    def start(self) -> str | None:
        """Start the process; returns the relay's address, None where it is to have no relay.

        Raises:
            AttackError: it ended, or did not listen within the deadline; the message quotes its log.
            UserError: its settings cannot be written, as on a full disk.
        """
        try:
            self._process = self._spawn()
        except OSError as error:
            raise AttackError(f"the attacker's process cannot be started: {error}") from error
        self._listener = threading.Thread(target=self._listen, daemon=True, name="attacker")
        self._listener.start()
        if self._wait(self._listening, START_DEADLINE_S):
            return self._address
        reason = self._how_it_ended() if self._over else f"did not listen within {START_DEADLINE_S:g} s"
        self.stop()
        raise AttackError(f"the attacker's process {reason}: {self.last_words()}")

    def _spawn(self) -> subprocess.Popen[str]:
        self.config.out.mkdir(parents=True, exist_ok=True)
        (self.config.knowledge / FRONTS).mkdir(parents=True, exist_ok=True)
        config_path = self.config.out / "attacker.json"
        write_whole(config_path, to_json(self.config, indent=2))
        # its standard input ties it to this process: it closes with it, however that ends
        command = child.arguments(*protocol.arguments(config_path))
        with self._log.open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",  # whatever the locale: both ends are this program
                errors="replace",
                env={**child.environment(), "PYTHONIOENCODING": "utf-8"},
                start_new_session=True,  # Ctrl-C reaches the lab alone, which then ends the attacker
            )

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
        """Let the attacker have the front that every participant gets at the start of this round.

        Where that cannot be written, it is the attacker's loss: training goes on.
        """
        content = BytesIO()
        torch.save(front.state_dict(), content)
        try:
            write_whole(front_path(self.config.knowledge, round_number), content.getvalue())
        except UserError as error:
            self._report(f"the attacker does not get the front of round {round_number}: {error}")
        if self.config.keep_rounds:  # the observations of a round are under its front, up to the next one
            forget_fronts(self.config.knowledge, before=round_number - self.config.keep_rounds)

    def finish(self, final: Final, deadline_s: float) -> None:
        """Say that training is over, and wait for the attacks to end.

        Raises:
            AttackError: the process ended, or was not done within the deadline.
            UserError: it cannot be told, as on a full disk.
        """
        self._awaited = True
        final.save(self.config.knowledge)
        if self._wait(self._done, deadline_s):
            return
        if self._over:
            raise AttackError(f"the attacker's process {self._how_it_ended()} before it was done: {self.last_words()}")
        raise AttackError(f"the attacker was not done within {deadline_s:g} s (attacker.deadline_s)")

    def stop(self) -> None:
        """End the process, gently at first; what it has said is heard, and nothing comes after this."""
        if self._process is None:
            return
        self._awaited = True
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._listener is not None and self._listener is not threading.current_thread():
            self._listener.join(HEAR_OUT_S)

    def last_words(self) -> str:
        """What of its standard error says most about its end."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return last_words(text) or f"it left no message (see {self._log})"

    def __enter__(self) -> AttackerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self, event: threading.Event, deadline_s: float) -> bool:
        """Whether this came: for no longer than the process lives, and what it said before it ended takes to hear."""
        deadline = time.monotonic() + deadline_s
        ended = False
        while not event.wait(timeout=POLL_S):
            if not ended and not self.alive:
                ended, deadline = True, time.monotonic() + HEAR_OUT_S
            if self._heard_out.is_set() or time.monotonic() > deadline:
                return event.is_set()
        return True

    @property
    def _over(self) -> bool:
        return self._heard_out.is_set() or not self.alive

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            return f"ended with {exit_in_words(self._process.wait(timeout=STOP_DEADLINE_S))}"
        except subprocess.TimeoutExpired:
            return "closed its output"

    def _listen(self) -> None:
        """Hear all that the process says. Its end is news unless somebody waits for it, who will say so."""
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._hear(line)
        if self._listening.is_set() and not (self._done.is_set() or self._awaited):
            self._report(f"the attacker's process {self._how_it_ended()}: {self.last_words()}")
        self._heard_out.set()

    def _hear(self, line: str) -> None:
        try:
            message = protocol.MESSAGES.read(line)
        except ValidationError:
            message = protocol.Warned(message=f"the attacker said something unexpected: {line.strip()[:200]}")
        if isinstance(message, protocol.Listening):
            self._address = message.address
            self._listening.set()
        self._tell(message)
        if isinstance(message, protocol.Done):
            self._done.set()

    def _tell(self, message: protocol.Message) -> None:
        try:
            self._on_message(message)
        except Exception as error:  # one that is not heard must not cost those that follow, Done among them
            self._report(f"a message of the attacker ({message.kind}) was lost: {type(error).__name__}: {error}")

    def _report(self, text: str) -> None:
        """Tell the user, once; by the log where the listener cannot take it."""
        if text in self._reported:
            return
        self._reported.add(text)
        try:
            self._on_message(protocol.Warned(message=text))
        except Exception:
            logger.warning("%s", text)
