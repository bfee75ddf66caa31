"""The services of docker-compose.yml while they run: what the checks ask of them, whatever it is that runs them."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN_S = 600
POLL_S = 0.5
SAID = 3000
"""Characters of a log that a failure shows, from its end."""


class Deployment(ABC):
    """The services of one profile. Services are named without the profile: ``server``, not ``server-tls``."""

    def __init__(self, profile: str) -> None:
        self._suffix = "-tls" if profile == "tls" else ""

    def name(self, service: str) -> str:
        """The service of this name in this profile."""
        return service + self._suffix

    @abstractmethod
    def up(self) -> None:
        """Start all, and wait until the runner has begun."""

    @abstractmethod
    def down(self) -> None:
        """Leave nothing behind."""

    @abstractmethod
    def log(self, service: str = "runner") -> str:
        """What a service has said."""

    @abstractmethod
    def running(self, service: str) -> bool:
        """Whether a service runs."""

    @abstractmethod
    def exit_code_of(self, service: str) -> int:
        """That of a service that has ended."""

    @abstractmethod
    def ask(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside a service: with its user, its files, its networks."""

    @abstractmethod
    def addresses(self, service: str) -> list[str]:
        """One for each of its networks."""

    @abstractmethod
    def mounted(self, service: str) -> set[str]:
        """Where a service has folders and files that are not its image's."""

    @abstractmethod
    def kill(self, service: str) -> None:
        """End a service at once, and not to be started again by itself."""

    @abstractmethod
    def start(self, service: str) -> None:
        """Start a service that was killed."""

    def until(self, sign: str) -> None:
        """Wait until the runner says this."""
        deadline = time.monotonic() + RUN_S
        while sign not in self.log():
            assert self.running("runner"), f"the runner ended without {sign!r}:\n{self.log()[-SAID:]}"
            assert time.monotonic() < deadline, f"no {sign!r} within {RUN_S} s:\n{self.log()[-SAID:]}"
            time.sleep(POLL_S)

    def exit_code(self) -> int:
        """The runner's, once it has ended."""
        deadline = time.monotonic() + RUN_S
        while self.running("runner"):
            assert time.monotonic() < deadline, f"the runner did not end:\n{self.log()[-SAID:]}"
            time.sleep(POLL_S)
        return self.exit_code_of("runner")
