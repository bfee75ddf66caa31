"""How the attacker's process ends before its attacks are done: by a signal, or with the process that started it."""

from __future__ import annotations

import os
import sys

from splitfed.stopping import StopSignals


class Ending(StopSignals):
    """Says what ended the attacker, and ends it at once with the process that started it: nobody waits for it then."""

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that this signal ended; 0 where there was none."""
        return 128 + self.signal if self.signal else 0

    def closed(self) -> None:
        """End at once."""
        os._exit(0)

    def cut(self) -> None:
        """End in the midst of its work, and say so."""
        sys.stderr.write(f"{self.account()}, in the midst of its work\n")
        sys.stderr.flush()
        os._exit(self.exit_code)

    def account(self) -> str:
        """What the user is told."""
        assert self.signal is not None
        return f"splitfed: the attacker was ended by {self.signal.name} before its attacks were done"
