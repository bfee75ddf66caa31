"""What comes of 200 faults is what has to, and the suite notices where it is not: it is shown broken variants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from splitfed.bench.faults import judge, play, sabotage, stages
from splitfed.bench.faults.deadline import HangError, within
from splitfed.bench.faults.script import Fault, Script
from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.federation.backs import BackHost
from splitfed.federation.outcome import TrainingProgress
from splitfed.federation.server_app import Federation
from splitfed.runners.local_grid import LocalGrid
from splitfed.types import Phase
from splitfed.wire import frames
from splitfed.wire.exactly_once import Seat
from splitfed.wire.reconnecting_stream import ReconnectingStream
from tests.bench.faults.scripts import RUNS, SEED, fault, script

PARTS = 10


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with stages.quiet():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_what_comes_of_each_fault_is_what_has_to(part: int) -> None:
    for number in range(part, RUNS, PARTS):
        line = stages.run(SEED, number)
        again = f"splitfed bench faults --seed {SEED} --run {number}"
        assert not line["wrong"], f"{again}\n" + json.dumps(line, indent=1, ensure_ascii=False)


# the suite itself


def kept(self: BackHost, examples: Mapping[int, int]) -> None:
    """Partial updates of clients that are lost stay in the average."""
    with self._lock:
        sessions = {client: session.tally.examples for client, session in self._sessions.items()}
    average(self, {**sessions, **examples})


average = BackHost.average


def applied_again(self: Seat, turn: int, step: int, activation: Tensor, labels: Tensor | None) -> bytes:
    """A step that is asked for again is taken again."""
    with self._lock:
        session: Any = self._playing(turn)
        self._settle()
        session._session.next_step = step
        self._reply = self._answer(session, step, activation, labels)
        return self._reply


def without_deadline(self: LocalGrid, messages: Any, *, timeout: float | None = None) -> Any:  # noqa: ARG001
    """Who does not answer is waited for without end."""
    return waiting(self, messages)


waiting = LocalGrid.send_and_receive


def at_one_address(self: ReconnectingStream, again: int) -> None:
    """A relay that does not answer is dialed again and again."""


BROKEN: dict[str, tuple[Fault, Any, str, Any, str]] = {
    "partial updates are kept": (
        fault("client raises before", 1, 1, Phase.TRAIN, 2),
        BackHost,
        "average",
        kept,
        "back is",
    ),
    "a step is applied twice": (
        fault("network cut before the answer", 1, 1, Phase.TRAIN, 1),
        Seat,
        "forward",
        applied_again,
        "back is",
    ),
    "the deadline is ignored": (
        fault("client freezes", 1, 1, Phase.TRAIN, 1),
        LocalGrid,
        "send_and_receive",
        without_deadline,
        "was never told of",
    ),
    "the checksum is ignored": (
        fault("network flips a bit of an activation", 0, 1, Phase.TRAIN, 1),
        frames,
        "_unsealed",
        lambda view: view[:-6],
        "front is",
    ),
    "finished rounds are forgotten": (
        fault("server dies between rounds", 0, 2, Phase.TRAIN, -1),
        Federation,
        "_resume",
        lambda _: False,
        "attempts began at rounds [1, 1]; expected [1, 2]",
    ),
    "a miss is not recorded": (
        fault("client has no disk", 2, 1, Phase.TEST, 0),
        TrainingProgress,
        "miss",
        lambda *_: None,
        "missed is {}",
    ),
    "no other way is tried": (
        fault("relay is killed", 2, 1, Phase.TRAIN, 1),
        ReconnectingStream,
        "_turn_to_next",
        at_one_address,
        "was lost in round 1: splitfed.errors.LinkLost",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_suite_notices_where(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strikes, owner, attribute, broken, says = BROKEN[name]
    one = script(strikes, direct=name == "no other way is tried")
    assert wrong(one, tmp_path / "well") == []
    monkeypatch.setattr(sabotage, "LONGEST_S", 1.5)
    monkeypatch.setattr(owner, attribute, broken)
    assert says in "\n".join(wrong(one, tmp_path / "broken"))


def wrong(one: Script, folder: Path) -> list[str]:
    folder.mkdir()
    return judge.mismatches(one, play.play(one, folder))


def test_a_fault_that_never_strikes_is_noticed(tmp_path: Path) -> None:
    late = script(fault("client raises before", 1, 2, Phase.TRAIN, 7))
    assert wrong(late, tmp_path / "run")[:1] == ["never struck: client raises before"]


def test_what_hangs_is_told_with_where_each_thread_stands() -> None:
    over = threading.Event()
    with pytest.raises(HangError, match=r"(?s)not over within 0\.1 s.*faults-run:.*over\.wait"):
        within(0.1, lambda: over.wait(30))
    over.set()
    assert within(30, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 // 0)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [(HangError("here"), "hangs: here"), (AssertionError("odd"), "AssertionError: odd"), (["odd"], "odd"), ([], "")],
)
def test_whatever_is_wrong_with_a_run_is_in_its_line_and_ends_with_1(
    outcome: Any, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(*_: object) -> tuple[dict[str, Any], list[str]]:
        if isinstance(outcome, Exception):
            raise outcome
        return {}, outcome

    monkeypatch.setattr(
        stages, "STAGES", [stages.PlayedOn("federation", stages.STAGES[-1].targets, 1, 9, played, (2, 4), 3)]
    )
    code = main(["bench", "faults", "--faults", "4", "--seed", "5"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == (exit_codes.BUG if says else exit_codes.OK)
    assert sum(len(line["faults"]) for line in lines) >= 4
    assert all(says in "".join(line["wrong"]) for line in lines)
    assert [line.get("again") for line in lines if says] == [
        f"splitfed bench faults --seed 5 --run {number}" for number in range(len(lines)) if says
    ]
