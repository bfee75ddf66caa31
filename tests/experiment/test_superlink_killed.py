"""A SuperLink that is killed in mid-run and started again on its database costs nothing but time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from splitfed import data
from splitfed.attacker.knowledge_files import save_auxiliary
from splitfed.experiment.run import run
from splitfed.federation.shares import split_images
from splitfed.records import events
from splitfed.records.events import Event
from splitfed.records.record import to_json
from splitfed.roles.config import AttackerNodeOptions, ClientOptions, RoleOptions, ServerOptions
from tests.experiment.test_deployed import scenario, without_timings
from tests.roles.conftest import free_address, running_superlink
from tests.roles.test_play import until

AWAY_S = 3.0


@contextmanager
def role(folder: Path, command: str, name: str, settings: RoleOptions) -> Iterator[None]:
    path = folder / f"{name}.json"
    path.write_bytes(to_json(settings))
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "splitfed", command, "--config", str(path)], stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


class KilledOnce:
    """Kills the SuperLink in this round, and starts it again a little later."""

    def __init__(self, address: str, folder: Path, round_number: int) -> None:
        self._address, self._folder, self._round = address, folder, round_number
        self._running = ExitStack()
        self.process: subprocess.Popen[bytes] | None = None
        self.killed = False

    def __enter__(self) -> KilledOnce:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.ClientProgress) and event.round == self._round and not self.killed:
            self.killed = True
            threading.Thread(target=self._strike, daemon=True).start()

    def _strike(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        time.sleep(AWAY_S)
        self._start()

    def _start(self) -> None:
        database = str(self._folder / "superlink.db")
        self.process = self._running.enter_context(
            running_superlink(self._address, self._folder, "--database", database)
        )


@pytest.mark.slow
def test_a_run_outlives_its_superlink(tmp_path: Path) -> None:
    undisturbed = run(scenario(), out=tmp_path / "here")
    superlink, split, relay = free_address(), free_address(), free_address()
    health = {name: free_address() for name in ("server", "attacker", "0", "1")}
    save_auxiliary(tmp_path / "images", split_images(scenario(), data.load("digits")).aux)
    server = ServerOptions(
        superlink=superlink, listen=split, addresses=(relay,), state=tmp_path / "server", health=health["server"]
    )
    attacker = AttackerNodeOptions(
        superlink=superlink,
        listen=relay,
        upstream=split,
        auxiliary=tmp_path / "images" / "auxiliary.npz",
        state=tmp_path / "attacker",
        health=health["attacker"],
    )
    with KilledOnce(superlink, tmp_path, 1) as link, ExitStack() as held:
        held.enter_context(role(tmp_path, "server", "server", server))
        held.enter_context(role(tmp_path, "attacker", "attacker", attacker))
        for number in range(2):
            client = ClientOptions(superlink=superlink, client=number, health=health[str(number)])
            held.enter_context(role(tmp_path, "client", f"client-{number}", client))
        for address in health.values():
            until(address, 200)
        store = run(scenario(), out=tmp_path / "there", runner="deploy", superlink=superlink, subscribers=[link])
        assert link.killed
    (one,), (other,) = undisturbed.results.cells, store.results.cells
    assert without_timings(one) == without_timings(other)
