"""The commands of docs/deploy.md that wait for each other work together, as they are printed there."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from splitfed.records.store import RunStore
from splitfed.roles.server import superlink_answers
from tests.docs.blocks import ROOT
from tests.docs.test_commands import SMALL
from tests.roles.conftest import free_address
from tests.roles.test_play import health_of

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
PORTS = {"127.0.0.1:8000": "superlink", "127.0.0.1:9091": "server", "127.0.0.1:9092": "relay"}
DIGITS = ["data.name=digits", "data.image_size=8", *SMALL, 'defense=["none"]', 'attack=["ridge"]']
READY_S, RUN_S = 90, 240


def printed(start: str) -> list[str]:
    """The only command on the page that begins so."""
    (line,) = {line for line in PAGE.splitlines() if line.startswith(start)}
    return shlex.split(line)


class Place:
    """A folder with the files that an operator finds, on ports that are free."""

    def __init__(self, folder: Path, clients: int) -> None:
        self.folder = folder
        self._ports = {shown: free_address() for shown in PORTS}
        for name in ("server", "clients", "attacker"):
            shutil.copytree(ROOT / name, folder / name)
        self.health = {name: free_address() for name in ("server", "attacker", *map(str, range(clients)))}

    def told(self, name: str, *lines: str, health: str) -> str:
        """A role's file with these lines ahead of it, and a port for its health."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        for shown, port in self._ports.items():
            text = text.replace(shown, port)
        path.write_text("\n".join([*lines, f'health = "{self.health[health]}"', text]), encoding="utf-8")
        return name

    def through_the_relay(self) -> None:
        """What the page says of a server that an attacker looks at: `addresses` names the relay, too."""
        server = self.folder / "server" / "server.toml"
        relay, own = self._ports["127.0.0.1:9092"], self._ports["127.0.0.1:9091"]
        server.write_text(server.read_text().replace(f'addresses = ["{own}"]', f'addresses = ["{relay}", "{own}"]'))

    def command(self, words: list[str]) -> list[str]:
        """A printed command, on these ports."""
        return [self._ports.get(word, word) for word in words]

    @property
    def superlink(self) -> str:
        return self._ports["127.0.0.1:8000"]


@contextmanager
def role(place: Place, words: list[str], name: str) -> Iterator[None]:
    """A role at work."""
    log = (place.folder / f"{name}.log").open("wb")
    command = [sys.executable, "-m", *place.command(words)]
    process = subprocess.Popen(command, cwd=place.folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(15) == 0, (place.folder / f"{name}.log").read_text()
        log.close()


def until_ready(place: Place) -> None:
    deadline = time.monotonic() + READY_S
    for name, address in place.health.items():
        while health_of(address) != 200:
            logs = {path.name: path.read_text()[-500:] for path in place.folder.glob("*.log")}
            assert time.monotonic() < deadline, (name, logs)
            time.sleep(0.2)


def ran(place: Place, words: list[str], *, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *place.command(words)]
    done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def small(words: list[str]) -> list[str]:
    settings = [word for setting in DIGITS for word in ("--set", setting)]
    return [*words, *settings, "--set", "federation.clients=2", "--set", "federation.round_deadline_s=60"]


@pytest.mark.slow
def test_two_machines_by_hand(tmp_path: Path) -> None:
    place = Place(tmp_path, clients=2)
    place.told("server/server.toml", health="server")
    place.through_the_relay()
    place.told("attacker/deployed.toml", health="attacker")
    deal = printed("splitfed data deal")
    ran(place, [*deal, *(word for setting in DIGITS[:-2] for word in ("--set", setting))])
    with ExitStack() as held:
        held.enter_context(role(place, printed("splitfed server"), "server"))
        for number in range(2):
            name = f"clients/client-{number}.toml"
            (tmp_path / name).write_text(f'superlink = "127.0.0.1:8000"\nclient = {number}\n')
            client = ["splitfed", "client", "--config", place.told(name, health=str(number))]
            held.enter_context(role(place, client, f"client-{number}"))
        held.enter_context(role(place, printed("splitfed attacker"), "attacker"))
        until_ready(place)
        run = "splitfed scenario medmnist_split --runner deploy --superlink 127.0.0.1:8000"
        assert run in PAGE
        ran(place, small(shlex.split(run)))
    (results,) = tmp_path.glob("runs/*")
    (cell,) = RunStore.open(results).results.cells
    assert cell.valid
    assert cell.strongest == "ridge"


@pytest.mark.slow
def test_the_same_under_tls(tmp_path: Path) -> None:
    place = Place(tmp_path, clients=2)
    certs = printed("splitfed certs certs --clients")
    ran(place, certs)
    text = (tmp_path / "server" / "server.toml").read_text()
    text = text.replace('host = "127.0.0.1" ', 'nodes = "certs"\nhost = "127.0.0.1" ')
    (tmp_path / "server" / "server.toml").write_text(text)
    place.told("server/server.toml", 'certs = "certs/server"', health="server")
    place.through_the_relay()
    place.told("attacker/deployed.toml", 'certs = "certs/attacker"', health="attacker")
    deal = printed("splitfed data deal")
    ran(place, [*deal, *(word for setting in DIGITS[:-2] for word in ("--set", setting))])
    with ExitStack() as held:
        held.enter_context(role(place, printed("splitfed server"), "server"))
        for number in range(2):
            name = f"clients/own-{number}.toml"
            (tmp_path / name).write_text(
                f'superlink = "127.0.0.1:8000"\nclient = {number}\ncerts = "certs/client-{number}"\n'
            )
            client = ["splitfed", "client", "--config", place.told(name, health=str(number))]
            held.enter_context(role(place, client, f"client-{number}"))
        held.enter_context(role(place, printed("splitfed attacker"), "attacker"))
        until_ready(place)
        assert superlink_answers(place.superlink, tmp_path / "certs" / "lab")
        said = ran(place, printed("splitfed certs certs --register"))
        assert "0 were new to it" in said.stdout
        ran(place, small(printed("splitfed scenario medmnist_split --set federation.tls=true")), code=3)
    (results,) = tmp_path.glob("runs/*")
    (cell,) = RunStore.open(results).results.cells
    assert cell.sealed
