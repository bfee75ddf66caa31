"""Everything that can go wrong, as one family.

    SplitfedError
    ├── UserError           the user's mistake: one message, exit code 2
    │   ├── ScenarioError   a scenario, a key or a value that does not exist or does not fit
    │   └── DataError       images that are missing, truncated or of the wrong size
    ├── WireError           something between a client and the server
    │   ├── Refused         the server said no, and why
    │   ├── FrameError      bytes that are not a frame of this protocol, or do not fit the stream
    │   │   └── CorruptFrame    bytes that were changed on the way
    │   └── LinkLost        no server answered within the deadline and the retries
    ├── TrainingFailed      a cell that cannot be trained with its settings: it is INVALID, the run goes on
    ├── UnfinishedError     cells without a result, for a reason that may not come again: --resume runs them
    ├── AttackError         the attacker's process failed
    └── PluginError         a plug-in's own code failed: one message, exit code 2

A message says where, what was expected and found, and the way out.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SplitfedError(Exception):
    """The base of all errors that splitfed raises on purpose."""


class UserError(SplitfedError):
    """The user asked for something that cannot be done; the message says what can."""


class ScenarioError(UserError):
    """A scenario, a key or a value that does not exist or does not fit."""


class DataError(UserError):
    """Images that are missing, truncated or of the wrong size."""


class WireError(SplitfedError):
    """Something between a client and the server."""


class Refused(WireError):
    """The server said no. ``reason`` is the name of the refusal in ``split.proto``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class FrameError(WireError):
    """Bytes that are not a frame of this protocol, or a frame that does not fit its stream."""


class CorruptFrame(FrameError):
    """A frame whose bytes are not those that were sent: its checksum is wrong, or is not there."""


class LinkLost(WireError):
    """No server answered within the deadline and the retries."""


class TrainingFailed(SplitfedError):
    """A cell cannot be trained with its settings, and never will be: every client failed, or it diverged."""


class UnfinishedError(SplitfedError):
    """Cells of a run have no result, for a reason that may not come again."""


class AttackError(SplitfedError):
    """The attacker's process failed; training is not affected."""


class PluginError(SplitfedError):
    """A plug-in's own code raised, or gave what it must not; the message names it."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, Python's own or PyTorch's, says that no memory was left.

    >>> out_of_memory(MemoryError()), out_of_memory(ValueError("too large"))
    (True, False)
    """
    # PyTorch raises a RuntimeError on CPU ("DefaultCPUAllocator: can't allocate memory"), a subclass of it on CUDA
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError")
    )


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say about an unknown name: the nearest valid one, then all of them.

    >>> unknown("defense", "laplce", ["none", "laplace"])
    "unknown defense 'laplce'; did you mean 'laplace'? Known: laplace, none"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}"
