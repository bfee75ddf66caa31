"""Cells that ended without a result, and what to say of them once the others are done."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from splitfed.errors import PluginError, SplitfedError, UnfinishedError, UserError, out_of_memory
from splitfed.files import explain
from splitfed.records.results import CellResult


class Cause(Enum):
    """Whose the fault is."""

    USER = "user"
    """The user can mend it, a full disk or a plug-in, and then resume."""
    HINDERED = "hindered"
    """It may not come again: a process that was killed, a deadline, too little memory."""
    BUG = "bug"
    """Nobody expected it."""


@dataclass(frozen=True)
class CellFailure:
    """Why a cell has no result. It may come from another process, so it holds text alone."""

    reason: str
    cause: Cause = Cause.HINDERED
    trace: str = ""
    """Of a bug: where it was raised."""

    @classmethod
    def of(cls, error: Exception) -> CellFailure:
        """What this error says."""
        if isinstance(error, UserError | PluginError):
            return cls(str(error), Cause.USER)
        if isinstance(error, SplitfedError):
            return cls(str(error))
        if isinstance(error, OSError) and (of_machine := explain(error)) is not None:
            return cls(of_machine, Cause.USER)
        named = "".join(traceback.format_exception_only(error)).strip()
        if out_of_memory(error):
            return cls(f"{named}: run fewer cells at a time, a smaller network, or on a machine with more memory")
        return cls(named, Cause.BUG, "".join(traceback.format_exception(error)))


Outcome = CellResult | CellFailure
"""What a cell came to, or why it has no result."""


def attempt(work: Callable[[], CellResult]) -> Outcome:
    """The result that `work` returns, or why it did not."""
    try:
        return work()
    except Exception as error:
        return CellFailure.of(error)


def check_all_finished(failures: Mapping[str, CellFailure], cells: int, run_dir: Path) -> None:
    """Whether all cells have a result.

    Args:
        failures: of the cells without one, by name.
        cells: of the whole run.
        run_dir: what to resume.

    Raises:
        RuntimeError: one of them met a bug; the message has its traceback.
        UserError: one of them waits for the user.
        UnfinishedError: they can be resumed as they are.
    """
    if not failures:
        return
    listed = "; ".join(f"{name} ({failure.reason})" for name, failure in failures.items())
    said = (
        f"{len(failures)} of {cells} cells unfinished: {listed}. "
        f"What is finished is kept; go on with: splitfed scenario --resume {run_dir}"
    )
    bugs = [f"in cell {name}:\n{f.trace}" for name, f in failures.items() if f.cause is Cause.BUG]
    if bugs:
        raise RuntimeError("\n".join([said, *bugs]))
    users = any(failure.cause is Cause.USER for failure in failures.values())
    raise UserError(said) if users else UnfinishedError(said)
