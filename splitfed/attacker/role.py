"""The attacker as a process: it listens, relays, observes and attacks until it is done or asked to end.

It starts to listen before PyTorch is imported: clients need not wait for that.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from splitfed.attacker.ending import Ending
from splitfed.attacker.late_observer import LateObserver
from splitfed.errors import UserError

if TYPE_CHECKING:
    from splitfed.attacker.config import AttackerConfig
    from splitfed.attacker.protocol import Message
    from splitfed.wire.tap import Tap

PATIENT = {"GOMP_SPINCOUNT": "1000"}
"""Threads that wait for each other spin for microseconds, then sleep: long spinning is ruinous beside other work on the
same cores, and going to sleep at once takes more time than sharing small operations saves."""


def run(config_path: Path, *, ends_with: int | None = None) -> int:
    """Run the role with the settings of this file; returns the exit code.

    It ends when all attacks on the final front are done (0), or earlier after SIGTERM (143) or SIGINT (130).

    Args:
        config_path: see `attacker.config.load_config`.
        ends_with: the descriptor of a pipe whose other end is held by the process that started this one: when that
            closes, this process ends too. Without it the role is on its own, whatever its standard input is.

    Raises:
        UserError: settings or knowledge that do not fit, or an address that cannot be listened on.
    """
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)  # read when PyTorch is imported
    # the work has a thread of its own, so that the main one hears signals whatever computation is under way
    with Ending() as ending, ThreadPoolExecutor(1, "attacker") as worker:
        if ends_with is not None:
            ending.follow(ends_with)
        done = worker.submit(_attack, config_path, Speaker(sys.stdout), ending.asked).result()
    if done:
        return 0
    sys.stderr.write(f"{ending.account()}\n")
    return ending.exit_code


class Speaker:
    """Writes messages, one a line, whole, from any thread."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        from splitfed.attacker.protocol import MESSAGES

        with self._lock:
            self._output.write(MESSAGES.write(message).decode())
            self._output.flush()


def _attack(config_path: Path, say: Speaker, asked_to_stop: threading.Event) -> bool:
    """Whether all attacks were done before the work was asked to stop."""
    from splitfed.attacker.config import load_config
    from splitfed.attacker.protocol import Listening, Warned
    from splitfed.files import as_open_as, make_private
    from splitfed.wire.relay import Relay

    config = load_config(config_path)
    make_private(config.out)  # what is recorded and made of it are private images
    if config.upstream is None:
        with as_open_as(config.out):
            say(Listening(address=None))
            return _finished(config, None, say, asked_to_stop)
    observer = LateObserver()

    def warn(text: str) -> None:
        say(Warned(message=text))

    # the observer is left before the relay, which waits until all that it holds was observed
    with (
        as_open_as(config.out),
        Relay(config.upstream, listen=config.listen, observer=observer, notice=warn) as relay,
        observer,
    ):
        say(Listening(address=relay.address))
        return _finished(config, lambda: observer.wake(_tap(config, warn)), say, asked_to_stop)


def _finished(
    config: AttackerConfig, tap: Callable[[], Tap] | None, say: Speaker, asked_to_stop: threading.Event
) -> bool:
    """Whether the work came to its end."""
    from splitfed.attacker.work import Attacker, StoppedEarly

    try:
        Attacker(config, tap() if tap is not None else None, say, asked_to_stop).run()
    except StoppedEarly:
        return False
    return True


def _tap(config: AttackerConfig, warn: Callable[[str], None]) -> Tap:
    from splitfed.attacker.knowledge_files import auxiliary_classes
    from splitfed.wire.checks import StreamRules
    from splitfed.wire.observations import ObservationWriter
    from splitfed.wire.tap import Tap

    _make_folder("observations", config.observations)
    _make_folder("out", config.out)
    rules = StreamRules(classes=len(auxiliary_classes(config.knowledge)))
    return Tap(ObservationWriter(config.observations, keep_rounds=config.keep_rounds or None), notice=warn, rules=rules)


def _make_folder(key: str, path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key}: the folder {path} cannot be made ({error.strerror}); give another one") from error
