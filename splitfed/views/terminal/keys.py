"""Single keys from the terminal while a run goes on, without Enter; Ctrl-C and Ctrl-Z stay what they are."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LOOK_S = 0.2
"""Between two looks at whether it is over."""
JOIN_S = 2.0


class Keys:
    """Hands each key that is pressed to ``pressed``, from a thread; a context manager that leaves all as it was.

    Where nobody sits at a terminal, or this process is in its background, there are no keys.

    Args:
        pressed: gets one character.
        descriptor: of the terminal; standard input by default.
    """

    def __init__(self, pressed: Callable[[str], None], descriptor: int | None = None) -> None:
        self._pressed = pressed
        self._descriptor = _standard_input() if descriptor is None else descriptor
        self._before: list[object] | None = None
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True, name="keys")

    @property
    def there(self) -> bool:
        """Whether keys are heard."""
        return self._before is not None

    def __enter__(self) -> Keys:
        if self._descriptor is not None and _in_foreground(self._descriptor):
            with suppress(termios.error, OSError):
                self._before = termios.tcgetattr(self._descriptor)
                tty.setcbreak(self._descriptor, termios.TCSANOW)
                self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is None or self._descriptor is None:
            return
        self._over.set()
        self._reader.join(JOIN_S)
        with suppress(termios.error, OSError):  # the terminal may be gone
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        self._before = None

    def _read(self) -> None:
        assert self._descriptor is not None
        with suppress(OSError, ValueError):
            while not self._over.is_set():
                ready, _, _ = select.select([self._descriptor], [], [], LOOK_S)
                if ready and not self._over.is_set():
                    text = os.read(self._descriptor, 64).decode(errors="replace")
                    if not text:
                        return
                    for character in text:
                        self._pressed(character)


def _standard_input() -> int | None:
    with suppress(AttributeError, OSError, ValueError):  # it may be closed, or no file
        return sys.stdin.fileno() if sys.stdin.isatty() else None
    return None


def _in_foreground(descriptor: int) -> bool:
    """Whether this process may change the terminal: one in the background would be stopped."""
    with suppress(OSError):
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    return False
