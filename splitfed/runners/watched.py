"""Who watches a training whose clients this process runs."""

from __future__ import annotations

from typing import Protocol

from splitfed.federation.client import StepReport
from splitfed.federation.watcher import Watcher


class TrainingWatcher(Watcher, Protocol):
    """Watches the server and the clients."""

    def stepped(self, report: StepReport) -> None:
        """A client has taken a step."""
