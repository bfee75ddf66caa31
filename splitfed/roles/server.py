"""The server's role: it starts Flower's SuperExec, which hosts the ServerApp, and a SuperLink where it is to."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from splitfed.errors import SplitfedError, UserError
from splitfed.files import make_private, write_whole
from splitfed.records.record import to_json
from splitfed.roles.config import ServerOptions
from splitfed.roles.health import Health
from splitfed.roles.straight import go_straight, is_healthy
from splitfed.wire.address import split_address
from splitfed.wire.certificate_folders import NODE_PUBLIC_KEY_FILE
from splitfed.wire.tls import CA_FILE, CERTIFICATE_FILE, KEY_FILE

logger = logging.getLogger(__name__)

START_S = 60.0
"""How long a SuperLink may take to answer that the role has started itself."""
STOP_S = 5.0
"""How long Flower's programs may take to end before they are killed."""
SETTINGS_VARIABLE = "SPLITFED_SERVER"
"""Names the file with the server's settings to the ServerApp's process."""
POLL_S = 0.2
PLAIN = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
}
"""What Flower's processes are to leave alone: calls home, installations, long pauses."""


def play(settings: ServerOptions, stopped: threading.Event) -> None:
    """Serve until `stopped` is set.

    Raises:
        SplitfedError: one of Flower's processes ended.
        UserError: it cannot be started.
    """
    make_private(settings.state)
    go_straight(settings.superlink)
    ready = threading.Event()
    with ExitStack() as held:
        home = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="splitfed-server-")))
        held.enter_context(Health(settings.health, ready))
        # it tells of every request, of which there are several a second
        log = held.enter_context((settings.state / "superlink.log").open("ab"))
        programs = held.enter_context(FlowerPrograms(home))
        if settings.start_superlink is not None:
            programs.start("flower-superlink", _superlink(settings), variables={}, log=log)
        _await_superlink(settings, programs, stopped)
        if settings.start_superlink is not None and settings.start_superlink.nodes is not None:
            let_in(settings.superlink, settings.certs, settings.start_superlink.nodes)
        own = home / "server.json"
        write_whole(own, to_json(settings))
        programs.start("flower-superexec", _superexec(settings), variables={SETTINGS_VARIABLE: str(own)})
        ready.set()
        logger.info("ready: waiting for runs of the SuperLink at %s", settings.superlink)
        while not stopped.wait(POLL_S):
            programs.check()


def let_in(superlink: str, certs: Path | None, nodes: Path) -> int:
    """Have a SuperLink know the parties in this folder by their keys; how many are new to it.

    Raises:
        UserError: it cannot be reached, or there are no keys in the folder.
    """
    from splitfed.roles.superlink import SuperLink  # imports Flower, which takes a second

    keys = sorted(nodes.glob(f"*/{NODE_PUBLIC_KEY_FILE}"))
    if not keys:
        raise UserError(f"{nodes} holds no {NODE_PUBLIC_KEY_FILE} of any party: make them with splitfed certs")
    with SuperLink(superlink, None if certs is None else certs / CA_FILE) as control:
        return sum(control.register(path) for path in keys)


def program(name: str) -> str:
    """A program that came with Flower, from the environment that this process runs in.

    Raises:
        UserError: it is not there.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise UserError(f"{path} is missing; it comes with Flower: pip install 'flwr>=1.41,<1.42'")
    return str(path)


def _superlink(settings: ServerOptions) -> list[str]:
    options = settings.start_superlink
    assert options is not None
    _, port = split_address(settings.superlink)
    arguments = ["--host", options.host, "--port", str(port), "--isolation", "process"]
    arguments += ["--disable-runtime-dependency-installation"]
    if options.database is not None:
        arguments += ["--database", str(options.database)]
    if settings.certs is None:
        return [*arguments, "--insecure"]
    return [*arguments, *_certificates(settings.certs), "--enable-supernode-auth"]


def _certificates(certs: Path) -> list[str]:
    names = {"--ssl-ca-certfile": CA_FILE, "--ssl-certfile": CERTIFICATE_FILE, "--ssl-keyfile": KEY_FILE}
    return [word for option, name in names.items() for word in (option, str(certs / name))]


def _superexec(settings: ServerOptions) -> list[str]:
    sealed = ["--insecure"] if settings.certs is None else ["--root-certificates", str(settings.certs / CA_FILE)]
    return ["--runtime-api-address", settings.superlink, *sealed]


class FlowerPrograms:
    """Flower's programs that this role has started; a context manager that leaves none of them behind.

    Args:
        home: the folder that they keep their own files in.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> FlowerPrograms:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of them at the same time, gently at first, with what they have started themselves."""
        deadline = time.monotonic() + STOP_S
        for process in self._started.values():
            _signal(process, signal.SIGTERM)
        for process in self._started.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._started.values():
            _signal(process, signal.SIGKILL)
            process.wait()

    def start(
        self, name: str, arguments: Sequence[str], *, variables: Mapping[str, str], log: BinaryIO | None = None
    ) -> None:
        """Start one.

        Args:
            name: of the program.
            arguments: its own.
            variables: of its environment, beside those of this process.
            log: what it writes goes there; else where this process writes.

        Raises:
            UserError: it is not installed.
        """
        environment = {**os.environ, **PLAIN, "FLWR_HOME": str(self._home), **variables}
        environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), environment.get("PATH", "")])
        self._started[name] = subprocess.Popen(
            [sys.executable, program(name), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def check(self) -> None:
        """Whether all of them run.

        Raises:
            SplitfedError: one has ended.
        """
        for name, process in self._started.items():
            if process.poll() is not None:
                raise SplitfedError(f"{name} ended with exit code {process.returncode}; its log says why")


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the program and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _await_superlink(settings: ServerOptions, programs: FlowerPrograms, stopped: threading.Event) -> None:
    """Wait until the SuperLink answers; for one that others start, for as long as it takes."""
    deadline = time.monotonic() + START_S
    while not stopped.is_set() and not superlink_answers(settings.superlink, settings.certs):
        programs.check()
        if settings.start_superlink is not None and time.monotonic() > deadline:
            raise SplitfedError(f"the SuperLink at {settings.superlink} did not answer within {START_S:g} s")
        stopped.wait(POLL_S)


def superlink_answers(address: str, certs: Path | None = None) -> bool:
    """Whether a SuperLink is there; `certs` is a party's folder where it is under TLS."""
    return is_healthy(address, ca=None if certs is None else certs / CA_FILE)
