"""A federation of processes on this machine, started for one run and ended with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from splitfed.attacker.knowledge_files import save_auxiliary
from splitfed.attacker.protocol import AUXILIARY
from splitfed.errors import SplitfedError
from splitfed.experiment.last_words import exit_in_words, last_words
from splitfed.files import make_private, write_whole
from splitfed.records.record import to_json
from splitfed.roles.config import AttackerNodeOptions, ClientOptions, RoleOptions, ServerOptions, SuperLinkOptions
from splitfed.roles.membership import Membership
from splitfed.roles.straight import is_healthy
from splitfed.runners import child
from splitfed.types import Images
from splitfed.wire.certificate_folders import make_certificates
from splitfed.wire.certificates import ATTACKER, LAB
from splitfed.wire.tls import SERVER, client_name

START_S = 90.0
"""How long a role may take until it is ready; several on a machine of few cores import PyTorch at the same time."""
STOP_S = 12.0
"""How long it may take to stop; it allows itself ten seconds."""
POLL_S = 0.1
CERTIFICATES_DAYS = 30
"""A run takes less; one that is resumed makes new ones."""


class _Party(NamedTuple):
    name: str
    health: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def deployment(
    folder: Path,
    *,
    clients: int,
    data_root: Path | None,
    auxiliary: Images,
    sealed: bool = False,
    superlink: str | None = None,
) -> Iterator[Membership]:
    """The server with a SuperLink, `clients` clients and the attacker, each a process; how the lab takes part.

    Args:
        folder: for their settings, logs and states; private to its owner.
        clients: how many.
        data_root: where the scenario's data set lies, of which each client takes its share.
        auxiliary: the attacker's own images.
        sealed: whether all links are under TLS, with certificates that are made for this.
        superlink: the address of one in clear that runs already; by default the server starts its own.

    Raises:
        SplitfedError: one of them did not get ready; the message quotes its log.
    """
    make_private(folder)
    certs = folder / "certs" if sealed else None
    if certs is not None:
        shutil.rmtree(certs, ignore_errors=True)  # of an earlier attempt
        make_certificates(certs, clients=clients, hosts=[], days=CERTIFICATES_DAYS)
    of = _Certificates(certs)
    own, split, relay, *probes = [f"127.0.0.1:{port}" for port in free_ports(clients + 5)]
    started = SuperLinkOptions(nodes=certs) if superlink is None else None
    superlink = superlink or own
    health = iter(probes)
    settings: dict[str, RoleOptions] = {
        "server": ServerOptions(
            superlink=superlink,
            listen=split,
            addresses=(relay, split),
            state=folder / "server",
            health=next(health),
            certs=of[SERVER],
            start_superlink=started,
        ),
        "attacker": AttackerNodeOptions(
            superlink=superlink,
            listen=relay,
            upstream=split,
            auxiliary=folder / "attacker-images" / AUXILIARY,
            state=folder / "attacker",
            health=next(health),
            certs=of[ATTACKER],
        ),
    }
    for number in range(clients):
        name = client_name(number)
        settings[name] = ClientOptions(
            superlink=superlink, client=number, data_root=data_root, health=next(health), certs=of[name]
        )
    save_auxiliary(folder / "attacker-images", auxiliary)
    with ExitStack() as held:
        parties = [held.enter_context(_started(name, options, folder)) for name, options in settings.items()]
        _await_all(parties)
        yield Membership.of(superlink, of[LAB])


class _Certificates:
    """The folder of each party, where there are certificates."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __getitem__(self, party: str) -> Path | None:
        return None if self._folder is None else self._folder / party


@contextmanager
def _started(name: str, options: RoleOptions, folder: Path) -> Iterator[_Party]:
    """A role's process while it is entered; tied to this one by a pipe, it ends however this one does."""
    path, log = folder / f"{name}.json", folder / f"{name}.log"
    write_whole(path, to_json(options, indent=2))
    command = name.partition("-")[0]
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, *child.arguments(command, "--config", str(path), "--ends-with", "0")],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=child.environment(),
            start_new_session=True,  # Ctrl-C reaches the lab alone, which then ends the others
        )
    try:
        yield _Party(name, str(options.health), process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _await_all(parties: Sequence[_Party]) -> None:
    """Wait until each is ready.

    Raises:
        SplitfedError: one ended, or takes too long.
    """
    deadline = time.monotonic() + START_S
    for party in parties:
        while not is_healthy(party.health):
            if party.process.poll() is not None:
                raise SplitfedError(f"{party.name} {exit_in_words(party.process.returncode)}: {_said(party)}")
            if time.monotonic() > deadline:
                raise SplitfedError(f"{party.name} was not ready within {START_S:g} s: {_said(party)}")
            time.sleep(POLL_S)


def _said(party: _Party) -> str:
    text = party.log.read_text(encoding="utf-8", errors="replace")
    return last_words(text) or f"it left no message (see {party.log})"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, no two the same."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [own.getsockname()[1] for own in held]
    finally:
        for own in held:
            own.close()
