"""A run goes on from a checkpoint to the same result, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from splitfed.defenses import DEFENSES
from splitfed.errors import SplitfedError, UserError
from splitfed.federation.checkpoint import Checkpoint
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.metrics.fingerprint import fingerprint
from tests.defenses.quick import quick
from tests.federation.harness import Recorder, train

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
OURS = sorted(name for name, kind in DEFENSES.items() if kind.__module__.startswith("splitfed."))


class Interruption(Exception):
    """The server's process dies."""


def interrupt_in(round_number: int) -> Recorder:
    """A server that dies at the end of this round, before the round is kept."""

    def on_round(number: int) -> None:
        if number == round_number:
            raise Interruption

    return Recorder(on_round=on_round)


def computed(result: FederationResult) -> dict[str, object]:
    """All that a run computes, apart from the time it took."""
    return {
        "front": fingerprint(result.front.state_dict()),
        "back": fingerprint(result.back.state_dict()),
        "history": result.history,
        "accuracy": (result.accuracy, result.train_accuracy),
        "measures": {client: dict(figures) for client, figures in sorted(result.measures.items())},
        "bytes": result.wire_bytes_per_image,
        "missed": result.missed_rounds,
        "audited": dict(result.audited),
    }


@pytest.mark.parametrize("name", OURS)
def test_a_resumed_run_computes_what_an_uninterrupted_one_does(
    name: str, job_of: JobOf, shares: Shares, tmp_path: Path
) -> None:
    job = job_of(name, options=dict(quick(name).options), federation={"rounds": 2, "clients": 2}, data={"train": 320})
    few = [ClientImages(share.train[:96], share.test[:8]) for share in shares[:2]]
    kept = tmp_path / "cell.pt"
    with pytest.raises(Interruption):
        train(job, few, direct=True, checkpoint=kept, watcher=interrupt_in(2))
    resumed = train(job, few, direct=True, checkpoint=kept)
    assert computed(resumed) == computed(train(job, few, direct=True))


@pytest.fixture
def kept(job_of: JobOf, shares: Shares, tmp_path: Path) -> Path:
    """The checkpoint of one round."""
    path = tmp_path / "cell.pt"
    with pytest.raises(Interruption):
        train(job_of(), shares, direct=True, checkpoint=path, watcher=interrupt_in(2))
    return path


def test_one_from_before_misses_were_recorded_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "cell.pt"
    Checkpoint(1, {}, {}, [(0.1, 0.9)], 10, 5, 1.0, {}).save(path)
    old = {key: value for key, value in torch.load(path).items() if not key.startswith("missed_")}
    torch.save(old, path)
    loaded = Checkpoint.load(path)
    assert loaded is not None
    assert (loaded.missed_rounds, loaded.missed_because) == ({}, "")


def test_none_is_written_with_a_number_that_is_not_finite(kept: Path) -> None:
    good, before = Checkpoint.load(kept), kept.read_bytes()
    assert good is not None
    name = next(iter(good.front))
    for bad, what in (
        (replace(good, front={**good.front, name: torch.full_like(good.front[name], torch.nan)}), f"front.{name}"),
        (replace(good, history=[(float("inf"), 0.5)]), "the loss or accuracy of round 1"),
    ):
        with pytest.raises(SplitfedError, match=rf"round 1 is not kept in .*cell.pt: {what} is not finite"):
            bad.save(kept)
    assert kept.read_bytes() == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_file(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


def other_network(path: Path) -> None:
    entries = torch.load(path)
    torch.save({**entries, "front": {"weight": torch.zeros(3)}}, path)


def diverged(path: Path) -> None:
    entries = torch.load(path)
    next(iter(entries["front"].values())).fill_(torch.nan)
    torch.save(entries, path)


DAMAGES = [
    (cut, "it is no whole checkpoint"),
    (empty, "it is empty"),
    (other_file, "it does not hold what a checkpoint does"),
    (other_network, "it is of another network"),
    (diverged, r"front\.\S+ is not finite"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES)
def test_a_damaged_one_is_one_message_with_the_way_out(
    damage: Callable[[Path], None], says: str, kept: Path, job_of: JobOf, shares: Shares
) -> None:
    damage(kept)
    with pytest.raises(UserError, match=rf"(?s)cell\.pt is damaged: {says}.*Delete it, and --resume"):
        train(job_of(), shares, direct=True, checkpoint=kept)
    kept.unlink()
    assert len(train(job_of(), shares, direct=True, checkpoint=kept).history) == 2
