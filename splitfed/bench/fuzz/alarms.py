"""Keeps what must not happen in a process: errors that are logged, and exceptions that nobody catches."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Alarms(logging.Handler):
    """A context manager: while it lasts, ``kept`` has a line for each."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.kept: list[str] = []
        self._before = threading.excepthook, sys.unraisablehook

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        threading.excepthook = lambda what: self.kept.append(f"{what.thread}: {what.exc_value!r}")
        sys.unraisablehook = lambda what: self.kept.append(f"nobody could catch: {what.exc_value!r}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self)
        threading.excepthook, sys.unraisablehook = self._before

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with the exception that it tells of."""
        error = record.exc_info[1] if record.exc_info else None
        self.kept.append(f"{record.name}: {record.getMessage()[:300]} {error!r}")
