"""Where the attacker looks on: a wire under TLS shows it nothing, and says so; the server sees what a wire in clear
shows, to the bit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from splitfed.attacker.config import AttackerConfig
from splitfed.config.scenario import Scenario
from splitfed.experiment import run as experiment
from splitfed.experiment.context import CellContext
from splitfed.experiment.mounted_attack import attacker_config
from splitfed.experiment.server_notes import ServerNotes
from splitfed.records import events
from splitfed.records.results import CellResult
from splitfed.records.store import RunStore
from splitfed.types import Observation, Phase
from splitfed.views import table
from splitfed.views.csv_table import to_csv
from splitfed.wire.observations import read_observations

ScenarioOf = Callable[..., Scenario]
TIMES = {"train_s", "attack_s"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker does not wait long for observations that will not come."""

    def impatient(context: CellContext, upstream: str | None) -> AttackerConfig:
        return attacker_config(context, upstream).model_copy(update={"settle_s": 0.5})

    monkeypatch.setattr("splitfed.experiment.mounted_attack.attacker_config", impatient)


def failed(entry: CellResult) -> set[str]:
    return {name for name, passed in entry.gates.items() if not passed}


def observed(store: RunStore, cell: str) -> list[Observation]:
    return list(read_observations(store.cell_dir(cell) / "observations"))


def reconstructions(store: RunStore, cell: CellResult) -> dict[str, np.ndarray]:
    with np.load(store.cell_dir(cell.cell) / "attack" / f"{cell.strongest}.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def notices(store: RunStore) -> list[str]:
    return [event.message for event in store.read_events() if isinstance(event, events.Notice)]


# a sealed wire


@pytest.fixture(scope="module")
def sealed(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    scenario = scenario_of(federation={"rounds": 1, "tls": True}, defense=[{"name": "none"}, {"name": "laplace"}])
    return experiment.run(scenario, out=tmp_path_factory.mktemp("sealed"))


def test_under_tls_the_attacker_on_the_wire_sees_nothing_and_the_cell_says_so(sealed: RunStore) -> None:
    for entry in sealed.results.cells:
        assert observed(sealed, entry.cell) == []
        assert entry.sealed
        assert (entry.attacks, entry.controls, entry.strongest) == ({}, {}, None)
        assert entry.activation_bytes_per_image is None
        assert failed(entry) == {"tap_coverage"}, "one reason, and not one per thing that could not be measured"
        assert entry.gate_details["tap_coverage"].startswith(
            "sealed by TLS: the wire attacker saw ciphertext, 0 of 480 activations; no leakage was measured"
        )
        assert not entry.valid
    assert sealed.results.vantage == "wire"
    assert not sealed.results.valid


def test_every_view_says_that_it_is_sealed_and_none_that_nothing_leaks(sealed: RunStore) -> None:
    results = sealed.results
    markdown = table.to_markdown(results)
    for label in ("none", "laplace"):
        line = next(line for line in markdown.splitlines() if line.startswith(f"| {label}"))
        assert "| sealed | INVALID |" in line
    assert "its attacker saw ciphertext, 0 activations" in markdown
    lines = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert [(line["vantage"], line["sealed"], line["kind"]) for line in lines[:2]] == [("wire", "True", "none")] * 2


def test_the_user_is_told_once_before_and_once_when_it_is_seen(sealed: RunStore) -> None:
    said = notices(sealed)
    assert sum("the attacker stands at a wire under TLS" in text for text in said) == 1
    for cell in ("none", "laplace"):
        of_cell = [text for text in said if text.startswith(f"{cell}: ")]
        assert sum("ciphertext (TLS): 0 activations" in text for text in of_cell) == 1
        assert sum("the attacker saw 0 of 480 activations" in text for text in of_cell) == 1
        assert len(of_cell) == 3, "and where the tap listens"


def test_tls_changes_nothing_of_what_is_trained(scenario_of: ScenarioOf, run_dir: Path, sealed: RunStore) -> None:
    clear = experiment.run(scenario_of(federation={"rounds": 1}), out=run_dir)
    weights = [torch.load(s.checkpoints_dir / "none.pt", weights_only=True) for s in (clear, sealed)]
    for part in ("front", "back"):
        assert all(torch.equal(weights[0][part][name], value) for name, value in weights[1][part].items())
    bare, under_tls = clear.results.cells[0], sealed.results.cells[0]
    assert bare.valid
    assert bare.accuracy == under_tls.accuracy
    assert bare.wire_bytes_per_image == under_tls.wire_bytes_per_image


def test_no_certificate_or_key_is_left_on_disk(sealed: RunStore) -> None:
    files = [path for path in sealed.path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if b"-----BEGIN" in path.read_bytes()] == []


def test_a_wire_that_was_to_be_sealed_and_is_not_makes_the_cell_invalid(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitfed.runners.local_clients.seal_of", lambda _: None)
    (entry,) = experiment.run(scenario_of(federation={"rounds": 1, "tls": True}), out=run_dir).results.cells
    assert not entry.sealed
    assert {"tap_coverage"} < failed(entry)
    assert "was to be sealed by TLS and was not seen to be: the tap read" in entry.gate_details["tap_coverage"]
    assert entry.gate_details["tap_coverage"].endswith("and found 0 connections in ciphertext")


def test_an_attacker_that_does_not_start_is_no_seal(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(context: CellContext, upstream: str | None) -> AttackerConfig:
        return attacker_config(context, upstream).model_copy(update={"listen": "192.0.2.1:9"})

    monkeypatch.setattr("splitfed.experiment.mounted_attack.attacker_config", elsewhere)
    (entry,) = experiment.run(scenario_of(federation={"rounds": 1, "tls": True}), out=run_dir).results.cells
    assert not entry.sealed
    assert {"tap_coverage", "attack_learned", "held_front"} < failed(entry)


# the server


def ran(scenario_of: ScenarioOf, folder: Path, **tables: dict[str, Any]) -> tuple[RunStore, CellResult]:
    scenario = scenario_of(
        federation={"rounds": 2, "codec": "int8"} | tables.get("federation", {}),
        attacker=tables.get("attacker", {}),
        defense=[{"name": "laplace"}],
        attack=[{"name": "ridge"}, {"name": "decoder", "max_epochs": 3}],
    )
    store = experiment.run(scenario, out=folder)
    (entry,) = store.results.cells
    return store, entry


@pytest.fixture(scope="module")
def at_the_wire(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, CellResult]:
    return ran(scenario_of, tmp_path_factory.mktemp("wire"), attacker={"keep_rounds": 0})


@pytest.mark.parametrize("tls", [False, True])
def test_a_curious_server_reconstructs_what_a_tap_on_a_wire_in_clear_does_to_the_bit(
    scenario_of: ScenarioOf, run_dir: Path, at_the_wire: tuple[RunStore, CellResult], tls: bool
) -> None:
    by_tap, tapped = at_the_wire
    attacker = {"vantage": "server", "keep_rounds": 0}
    by_server, served = ran(scenario_of, run_dir, attacker=attacker, federation={"tls": tls})
    ours, theirs = observed(by_tap, tapped.cell), observed(by_server, served.cell)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert (one.round, one.client, one.phase, one.step) == (other.round, other.client, other.phase, other.step)
        assert torch.equal(one.activation, other.activation)
        assert one.labels is not None
        assert other.labels is not None
        assert torch.equal(one.labels, other.labels)
    assert {o.phase for o in theirs} == set(Phase)
    assert tapped.strongest == served.strongest
    made, again = reconstructions(by_tap, tapped), reconstructions(by_server, served)
    assert made.keys() == again.keys()
    assert all(np.array_equal(made[name], again[name]) for name in made)
    details = {"gate_details": {**tapped.gate_details, "tap_coverage": served.gate_details["tap_coverage"]}}
    assert tapped.model_copy(update=details).model_dump(exclude=TIMES) == served.model_dump(exclude=TIMES)
    assert served.gate_details["tap_coverage"].startswith("the server saw 480 of 480 activations")
    assert (by_tap.results.vantage, by_server.results.vantage) == ("wire", "server")


def test_a_server_that_looks_on_needs_no_relay(scenario_of: ScenarioOf, run_dir: Path) -> None:
    tables: dict[str, Any] = {"attacker": {"vantage": "server"}, "federation": {"rounds": 1}}
    store, entry = ran(scenario_of, run_dir, **tables)
    said = notices(store)
    assert any("the server keeps what it is sent" in text for text in said)
    assert not any("listens on" in text for text in said)
    assert "The attacker was the server itself, honest but curious." in table.to_markdown(store.results)
    assert {o.phase for o in observed(store, entry.cell)} == {Phase.AUDIT}, "the rest is deleted, as of a tap"


def test_a_server_that_cannot_record_goes_on_serving(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, observation: Observation) -> None:
        del self, observation
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("splitfed.wire.observations.ObservationWriter.__call__", full)
    tables: dict[str, Any] = {"attacker": {"vantage": "server"}, "federation": {"rounds": 1}}
    store, entry = ran(scenario_of, run_dir, **tables)
    assert entry.accuracy is not None
    assert entry.gates["clients_took_part"]
    assert "tap_coverage" in failed(entry)
    assert "the server saw 0 of 480" in entry.gate_details["tap_coverage"]
    told = [text for text in notices(store) if "training goes on" in text]
    assert len(told) == 1
    assert "No space left on device" in told[0]


def test_what_is_recorded_by_several_threads_is_whole(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    notes = ServerNotes(tmp_path, None, pytest.fail)
    sent = [
        Observation("run", 1, client, Phase.TRAIN, step, torch.full((64, 500), float(client + step)), None)
        for step in range(20)
        for client in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(notes, sent))
    notes.close()
    found = list(read_observations(tmp_path))
    assert len(found) == len(sent)
    assert all(torch.equal(o.activation, torch.full((64, 500), float(o.client + o.step))) for o in found)
