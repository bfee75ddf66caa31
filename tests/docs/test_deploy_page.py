"""The commands of docs/deploy.md that wait for each other work together, as they are printed there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from splitfed import data
from splitfed.config.load import load
from splitfed.federation.shares import shares, split_images
from splitfed.records.store import RunStore
from splitfed.roles.server import PLAIN, program, superlink_answers
from tests.docs.blocks import ROOT
from tests.docs.test_commands import SMALL
from tests.roles.conftest import free_address
from tests.roles.test_play import health_of

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
PORTS = {"127.0.0.1:8000": "superlink", "127.0.0.1:9091": "server", "127.0.0.1:9092": "relay"}
DIGITS = ["data.name=digits", "data.image_size=8", *SMALL, 'defense=["none"]', 'attack=["ridge"]']
READY_S, RUN_S = 120, 480


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
def test_two_machines_by_hand_and_a_supernode_of_flowers(tmp_path: Path) -> None:
    place = Place(tmp_path, clients=1)
    place.told("server/server.toml", health="server")
    place.through_the_relay()
    place.told("attacker/deployed.toml", health="attacker")
    deal = printed("splitfed data deal")
    ran(place, [*deal, *(word for setting in DIGITS[:-2] for word in ("--set", setting))])
    (tmp_path / "clients" / "client-0.toml").write_text('superlink = "127.0.0.1:8000"\nclient = 0\n')
    # the SuperNode reads the file that is printed, and takes its share of the digits
    (tmp_path / "clients" / "hospital.toml").write_text(f'superlink = "{place.superlink}"\nclient = 1\n')
    client = ["splitfed", "client", "--config", place.told("clients/client-0.toml", health="0")]
    with ExitStack() as held:
        held.enter_context(role(place, printed("splitfed server"), "server"))
        held.enter_context(role(place, client, "client-0"))
        held.enter_context(role(place, printed("splitfed attacker"), "attacker"))
        until_ready(place)
        held.enter_context(supernode(place))
        run = "splitfed scenario medmnist_split --runner deploy --superlink 127.0.0.1:8000"
        assert run in PAGE
        # a process that imports PyTorch for every Message takes its time
        ran(place, [*small(shlex.split(run)), "--set", "federation.round_deadline_s=240"])
    (results,) = tmp_path.glob("runs/*")
    (cell,) = RunStore.open(results).results.cells
    assert cell.valid, cell.gate_details
    assert cell.missed_rounds == {}
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


def folder_of_images(folder: Path) -> int:
    """A hospital's own, a folder for each class: what would be its share of the digits. How many it holds."""
    scenario = load("medmnist_split", overrides=[*DIGITS, "federation.clients=2"])
    own = shares(scenario, split_images(scenario, data.load("digits"), scenario.seed), scenario.seed)[0].train
    for place, label in enumerate(own.labels.tolist()):
        path = folder / own.classes[label] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((own.pixels[place, 0] * 255).round().byte().numpy()).save(path)
    return len(own)


@contextmanager
def supernode(place: Place) -> Iterator[None]:
    """Flower's own, as it is printed."""
    shown = PAGE.index("`flower-supernode")
    name, *words = shlex.split(PAGE[shown + 1 : PAGE.index("`", shown + 1)])
    with (place.folder / "supernode.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, program(name), *place.command(words)],
            cwd=place.folder,
            env={
                **os.environ,
                **PLAIN,
                "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
                "FLWR_HOME": str(place.folder / "flower"),
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_hospital_with_images_of_its_own_where_nobody_holds_all_truth(tmp_path: Path) -> None:
    place = Place(tmp_path, clients=2)
    held_images = folder_of_images(tmp_path / "xrays")
    hospital = tmp_path / "clients" / "hospital.toml"
    hospital.write_text(hospital.read_text().replace("~/xrays", str(tmp_path / "xrays")))
    place.told("clients/hospital.toml", health="0")
    (tmp_path / "clients" / "other.toml").write_text('superlink = "127.0.0.1:8000"\nclient = 1\n')
    place.told("clients/other.toml", health="1")
    place.told("server/server.toml", health="server")
    place.through_the_relay()
    place.told("attacker/deployed.toml", health="attacker")
    ran(place, [*printed("splitfed data deal"), *(word for setting in DIGITS[:-2] for word in ("--set", setting))])
    command = printed("splitfed client")
    with ExitStack() as held:
        held.enter_context(role(place, printed("splitfed server"), "server"))
        held.enter_context(role(place, command, "hospital"))
        held.enter_context(role(place, [*command[:-1], "clients/other.toml"], "other"))
        held.enter_context(role(place, printed("splitfed attacker"), "attacker"))
        until_ready(place)
        done = ran(place, small(printed("splitfed scenario medmnist_split --set truth=clients")))
    (results,) = tmp_path.glob("runs/*")
    (cell,) = RunStore.open(results).results.cells
    assert cell.valid, done.stdout
    (score,) = cell.attacks.values()
    assert score.by_client.keys() == {"0", "1"}
    assert score.by_client["0"].n == pytest.approx(0.8 * held_images, abs=1)
