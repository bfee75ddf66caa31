"""How a command ends, in a number for the shell that started it."""

from __future__ import annotations

OK = 0
BUG = 1
"""A traceback; or cells that ended with an error while the others finished."""
USER_MISTAKE = 2
INVALID = 3
"""It came to its end, and a gate says that its figures prove nothing; or the doctor found something missing."""
INTERRUPTED = 130
"""By Ctrl-C or SIGTERM."""
READER_LEFT = 141
"""Nobody read the output to its end."""


def of_run(valid: bool) -> int:
    """What a run that came to its end ends its command with.

    >>> of_run(True), of_run(False)
    (0, 3)
    """
    return OK if valid else INVALID
