"""The lab's end of the attacker's process: what it keeps for it, and what becomes of what it cannot hear."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
import torch

from splitfed.attacker import messages
from splitfed.attacker.config import AttackerConfig, ComponentConfig, Final, front_path
from splitfed.attacker.handle import AttackerHandle
from splitfed.errors import UserError
from splitfed.models.front import PlainFront
from splitfed.types import ImageShape
from tests.attacker.test_process import attacker


def config(folder: Path, keep_rounds: int = 1) -> AttackerConfig:
    return AttackerConfig(
        upstream="127.0.0.1:1",
        knowledge=folder / "knowledge",
        observations=folder / "observations",
        out=folder / "attack",
        shape=(1, 4, 4),
        width=8,
        defense=ComponentConfig(name="none"),
        attacks=(ComponentConfig(name="ridge"),),
        keep_rounds=keep_rounds,
    )


@pytest.mark.parametrize(("keep_rounds", "kept"), [(1, [5, 6]), (2, [4, 5, 6]), (0, [1, 2, 3, 4, 5, 6])])
def test_fronts_are_kept_as_long_as_the_observations_under_them(
    keep_rounds: int, kept: list[int], tmp_path: Path
) -> None:
    handle = AttackerHandle(config(tmp_path, keep_rounds), lambda _: None)
    (tmp_path / "knowledge" / "fronts").mkdir(parents=True)
    for number in range(1, 7):
        handle.publish_front(number, PlainFront(ImageShape(1, 4, 4), 8))
    assert sorted(int(path.stem) for path in (tmp_path / "knowledge" / "fronts").iterdir()) == kept


def test_a_front_that_is_gone_when_the_attacker_comes_to_it_is_passed_over(tmp_path: Path) -> None:
    here, said = attacker(tmp_path, "ridge")
    first, second, third = (front_path(tmp_path / "knowledge", number) for number in (1, 2, 3))
    second.symlink_to("gone")
    follower = threading.Thread(target=here._follow)
    follower.start()
    torch.save(torch.load(first, weights_only=True), third.with_suffix(".draft"))
    third.with_suffix(".draft").rename(third)
    deadline = threading.Event()
    while not any(isinstance(message, messages.Learned) and message.round == 3 for message in said):
        assert follower.is_alive()
        assert not deadline.wait(0.01)
    Final(round=4, rows=0).save(tmp_path / "knowledge")
    follower.join(timeout=60)
    assert not follower.is_alive()


def test_what_hearing_it_raises_is_raised_where_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say, on which nothing of what the attacker says can be recorded."""
    talker = tmp_path / "talker"
    line = messages.Listening(address="127.0.0.1:9").model_dump_json()
    talker.write_text(f"#!{sys.executable}\nimport sys\nprint('{line}', flush=True)\nsys.stdin.read()\n")
    talker.chmod(0o700)
    monkeypatch.setattr("splitfed.attacker.handle.sys.executable", os.fspath(talker))

    def refuse(_: messages.Message) -> None:
        raise UserError("the disk is full")

    with AttackerHandle(config(tmp_path), refuse) as handle:
        assert handle.start() == "127.0.0.1:9"
        with pytest.raises(UserError, match="the disk is full"):
            handle.finish(Final(round=1, rows=1), deadline_s=60)
