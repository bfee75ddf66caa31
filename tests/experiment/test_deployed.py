"""A federation of processes whose parties are killed: what comes of it is true, and nothing is left behind.

That it learns and leaks what one process does: runners/test_same_everywhere.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from splitfed.config.load import validate
from splitfed.config.scenario import Scenario
from splitfed.experiment.run import run
from splitfed.records import events
from splitfed.records.events import Event
from splitfed.records.results import CellResult
from splitfed.records.wall import WallFolder

TIMINGS = ("train_s", "attack_s")


def scenario(**federation: Any) -> Scenario:
    table = {
        "name": "small",
        "data": {"name": "digits", "train": 480, "aux": 600, "test": 240},
        "model": {"width": 48},
        "federation": {"clients": 2, "rounds": 2, "batch_size": 32, **federation},
        "attacker": {"margin_db": 0.0},
        "defense": [{"name": "laplace", "scale": 0.3}],
        "attack": [{"name": "ridge"}],
    }
    return validate(table, source="small")


def without_timings(cell: CellResult) -> dict[str, Any]:
    content = cell.model_dump()
    for name in TIMINGS:
        del content[name]
    for attack in [*content["attacks"].values(), *content["controls"].values()]:
        attack.pop("seconds", None)
    return content


def processes_of(folder: Path) -> list[psutil.Process]:
    """Those that work on this run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.pid != os.getpid() and str(folder) in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


class AtStep:
    """Does something to a run's processes once training has come so far."""

    def __init__(self, folder: Path, round_number: int, deed: Callable[[list[psutil.Process]], None]) -> None:
        self._folder, self._round, self._deed = folder, round_number, deed
        self.done = False
        self.lost: list[events.ClientLost] = []
        self.wire: list[events.WireCounted] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.ClientLost):
            self.lost.append(event)
        if isinstance(event, events.WireCounted):
            self.wire.append(event)
        if isinstance(event, events.ClientProgress) and event.round == self._round and not self.done:
            self.done = True
            self._deed(processes_of(self._folder))


def kill_role(name: str) -> Callable[[list[psutil.Process]], None]:
    def kill(processes: list[psutil.Process]) -> None:
        for process in processes:
            if any(part.endswith(f"{name}.json") for part in process.cmdline()):
                process.send_signal(signal.SIGKILL)

    return kill


def check_walls(run: Path, wire: Sequence[events.WireCounted]) -> None:
    """The lab has originals and scores, the attacker reconstructions alone; what crossed the wire is told by client."""
    of_lab = WallFolder(run)
    (of_attacker,) = [WallFolder(folder.parent) for folder in (run / "deployment").rglob("wall")]
    for wall, knows in ((of_lab, True), (of_attacker, False)):
        attack, victims = wall.attack("laplace", "ridge"), wall.victims()
        assert attack is not None
        assert victims is not None
        assert attack.final is not None
        assert bool(victims.sheets) == bool(attack.final.psnr_db) == bool(attack.final.reid_rank) == knows
        assert all((wall.cell("laplace") / sheet).is_file() for sheet in attack.final.sheets)
    assert wire[-1].lost == (1,)
    assert all(client.received_bytes > 0 for client in wire[-1].clients)
    assert {client.client for client in wire[-1].clients} == {0, 1}


def test_a_client_that_is_killed_is_lost_and_the_others_go_on(tmp_path: Path) -> None:
    at = AtStep(tmp_path, 2, kill_role("client-1"))
    store = run(scenario(round_deadline_s=60), out=tmp_path, runner="deploy", subscribers=[at])
    (cell,) = store.results.cells
    assert at.done
    assert {event.client for event in at.lost} == {1}
    assert cell.missed_rounds == {"1": (2, 3)}
    assert not cell.gates["clients_took_part"]
    assert processes_of(tmp_path) == []
    check_walls(store.path, at.wire)


def test_an_attacker_that_is_killed_costs_the_cell_its_verdict_and_training_nothing(tmp_path: Path) -> None:
    undisturbed = run(scenario(), out=tmp_path / "here")
    at = AtStep(tmp_path / "there", 1, kill_role("attacker"))
    store = run(scenario(), out=tmp_path / "there", runner="deploy", subscribers=[at])
    (cell,) = store.results.cells
    assert at.done
    assert at.lost == []
    assert not cell.valid
    assert not cell.gates["tap_coverage"]
    assert cell.accuracy == undisturbed.results.cells[0].accuracy
