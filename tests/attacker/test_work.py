"""What the attacker's process decides for its attacks: which apply, how much they see, who moved the front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from splitfed import defenses
from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacker.held_front import FrontWatch, HeldFront
from splitfed.attacker.knowledge_files import load_auxiliary, save_auxiliary
from splitfed.attacker.observed import Chosen, affordable
from splitfed.attacker.protocol import Done, front_path
from splitfed.attacker.work import Attacker
from splitfed.experiment.verdict import after_attack, victim_fingerprint
from splitfed.federation.outcome import FederationResult
from splitfed.metrics.gates import victim_unchanged
from splitfed.models.back import Back
from splitfed.models.front import FrontSpec, PlainFront
from splitfed.types import Images, ImageShape, Observation, Phase
from splitfed.wire.observations import ObservationWriter
from splitfed.wire.tap import Tap


def observation(client: int, step: int, rows: int) -> Observation:
    activation = torch.full((rows, 1), float(10 * client + step))
    return Observation("run", 1, client, Phase.AUDIT, step, activation, labels=None)


STREAMS = [Chosen.all_of(each) for each in (observation(1, 0, 4), observation(0, 1, 2), observation(0, 0, 4))]
"""As they arrived: in no order."""


def test_all_rows_are_reconstructed_where_that_is_affordable() -> None:
    for most in (None, 10, 99):
        chosen = affordable(STREAMS, most)
        assert [(o.client, o.step) for o, _ in chosen] == [(0, 0), (0, 1), (1, 0)]
        assert [rows.tolist() for _, rows in chosen] == [[0, 1, 2, 3], [0, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize("most", [1, 3, 7])
def test_else_as_many_as_are_evenly_spaced_whatever_came_first(most: int) -> None:
    chosen = affordable(STREAMS, most)
    assert sum(len(rows) for _, rows in chosen) == most
    again = affordable(STREAMS[::-1], most)
    assert [rows.tolist() for _, rows in chosen] == [rows.tolist() for _, rows in again]
    if most == 3:
        assert {o.client for o, _ in chosen} == {0, 1}
    assert all(np.all(rows < len(o.activation)) for o, rows in chosen)


def test_nothing_observed_is_nothing_to_reconstruct() -> None:
    assert affordable([], None) == []


def attacker(folder: Path, *names: str) -> tuple[Attacker, list[protocol.Message]]:
    """An attacker on a plain front, with these attacks; and what it says."""
    pixels = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    save_auxiliary(folder / "knowledge", Images(pixels, torch.zeros(40, dtype=torch.int64), ("only",)))
    front = defenses.build("none", {}).build_front(FrontSpec(ImageShape(1, 8, 8), 16), torch.Generator())
    path = front_path(folder / "knowledge", 1)
    path.parent.mkdir()
    torch.save(front.state_dict(), path)
    config = AttackerConfig(
        upstream="127.0.0.1:1",
        knowledge=folder / "knowledge",
        observations=folder / "observations",
        out=folder / "attack",
        shape=(1, 8, 8),
        width=16,
        defense=ComponentConfig(name="none"),
        attacks=tuple(ComponentConfig(name=name) for name in names),
    )
    said: list[protocol.Message] = []
    tap = Tap(ObservationWriter(config.observations, keep_rounds=None))
    return Attacker(config, tap, said.append), said


def test_an_attack_that_does_not_apply_is_left_out_once_and_the_others_go_on(tmp_path: Path) -> None:
    here, said = attacker(tmp_path, "ridge", "dictionary", "untrained")
    for _ in range(2):
        assert here._begin(1, load_auxiliary(tmp_path / "knowledge", ImageShape(1, 8, 8))).moved_by == []
    assert [attack.name for attack in here._attacks] == ["ridge", "untrained"]
    (notice,) = said
    assert isinstance(notice, protocol.Warned)
    assert notice.level == "info"
    assert notice.message.startswith("attack dictionary is left out: it needs a front with a sparse coding layer")


def test_the_attack_that_moved_the_front_is_named_in_the_gate() -> None:
    front, back = PlainFront(ImageShape(1, 4, 4), 8), Back(8, 8, 2)
    result = FederationResult(front, back, 0.9, 0.9, 64.0, 1.0, [(0.1, 0.9)], {}, {})
    copy = PlainFront(ImageShape(1, 4, 4), 8)
    copy.load_state_dict(front.state_dict())
    watch = FrontWatch(HeldFront(copy, defenses.build("none", {})))
    watch.blame("ridge")
    with torch.no_grad():
        next(copy.body.parameters()).add_(1e-6)
    watch.blame("clumsy")
    watch.blame("decoder")
    assert watch.moved_by == ["clumsy"]
    done = Done(
        front_before=watch.before, front_after=watch.now, moved_by=tuple(watch.moved_by), observed=1, unparsed=0
    )
    gate = victim_unchanged(victim_fingerprint(result), after_attack(result, done))
    assert not gate.passed
    assert "clumsy" in gate.detail
    assert "decoder" not in gate.detail
