"""The lab's end: whatever becomes of the attacker or of what it says, the lab knows, soon and in words."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacker.protocol import Final, front_path
from splitfed.errors import AttackError, UserError
from splitfed.experiment import attacker_process as handle_module
from splitfed.experiment.attacker_process import AttackerProcess
from tests.attacker.quick import SLOW, config, front, prepare

SOON_S = 20.0
"""Much less than what a process may take to listen."""


class Ear:
    """Hears messages, and waits for one."""

    def __init__(self) -> None:
        self.heard: list[protocol.Message] = []
        self._news = threading.Condition()

    def __call__(self, message: protocol.Message) -> None:
        with self._news:
            self.heard.append(message)
            self._news.notify_all()

    def wait_for(self, fits: Callable[[protocol.Message], bool]) -> protocol.Message:
        with self._news:
            assert self._news.wait_for(lambda: any(fits(m) for m in self.heard), timeout=60), self.heard
            return next(m for m in self.heard if fits(m))

    def wait_for_warning(self, text: str) -> str:
        found = self.wait_for(lambda m: isinstance(m, protocol.Warned) and text in m.message)
        assert isinstance(found, protocol.Warned)
        return found.message


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this shell script run in place of Python."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'OSError: no room' >&2; exit 1", "ended with exit status 1: OSError: no room"),
        ("kill -KILL $$", "ended with SIGKILL: it left no message"),
        ("exec 1>&-; exec sleep 60", "closed its output: it left no message"),
    ],
)
def test_a_process_that_ends_before_it_listens_is_noticed_at_once(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle_module, "STOP_DEADLINE_S", 0.2)
    program(tmp_path, script, monkeypatch)
    began = time.monotonic()
    with AttackerProcess(config(tmp_path), Ear()) as handle, pytest.raises(AttackError) as error:
        handle.start()
    assert str(error.value).startswith(f"the attacker's process {says}")
    assert time.monotonic() - began < SOON_S
    assert not handle.alive


def test_one_that_leaves_a_child_with_its_output_is_noticed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle_module, "HEAR_OUT_S", 0.5)
    program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; exit 7", monkeypatch)
    began = time.monotonic()
    with AttackerProcess(config(tmp_path), Ear()) as handle, pytest.raises(AttackError, match="exit status 7"):
        handle.start()
    assert time.monotonic() - began < SOON_S
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_a_mistake_in_its_settings_is_quoted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = config(tmp_path).model_copy(update={"listen": f"127.0.0.1:{port}"})
        with AttackerProcess(settings, Ear()) as handle, pytest.raises(AttackError) as error:
            handle.start()
    assert f"ended with exit status 2: cannot listen on port {port} of 127.0.0.1" in str(error.value)


def spoil_auxiliary(settings: AttackerConfig) -> None:
    file = settings.knowledge / "auxiliary.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **(arrays | {"pixels": arrays["pixels"] * 255}))


def spoil_front(settings: AttackerConfig) -> None:
    state = front().state_dict()
    state["body.0.bias"][0] = float("nan")
    torch.save(state, front_path(settings.knowledge, 1))


def spoil_final(settings: AttackerConfig) -> None:
    (settings.knowledge / "final.json").write_text('{"round": 1}', encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_auxiliary, "divide them by 255"),
        (spoil_front, "body.0.bias NaN or infinite in places"),
        (spoil_final, "rows is missing"),
    ],
)
def test_knowledge_that_does_not_fit_is_said_while_training_goes_on(
    spoil: Callable[[AttackerConfig], None], says: str, tmp_path: Path
) -> None:
    settings = prepare(tmp_path)
    spoil(settings)
    ear = Ear()
    with AttackerProcess(settings, ear) as handle:
        handle.start()
        assert ear.wait_for_warning(says).startswith("the attacker's process ended with exit status 2: ")
        with pytest.raises(AttackError, match=f"exit status 2 before it was done: .*{says}"):
            handle.finish(Final(round=1, rows=0), deadline_s=60)


def test_a_kill_in_mid_training_is_said_when_it_happens(tmp_path: Path) -> None:
    ear = Ear()
    with AttackerProcess(prepare(tmp_path, attacks=[SLOW]), ear) as handle:
        handle.start()
        os.kill(handle.pid, signal.SIGKILL)
        assert "ended with SIGKILL" in ear.wait_for_warning("the attacker's process")


def test_an_attacker_that_is_let_go_is_no_news(tmp_path: Path) -> None:
    ear = Ear()
    with AttackerProcess(prepare(tmp_path, attacks=[SLOW]), ear) as handle:
        handle.start()
    assert not handle.alive
    assert [type(message) for message in ear.heard] == [protocol.Listening]


def test_a_listener_that_fails_costs_no_message_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full_disk(message: protocol.Message) -> None:
        heard.append(message.kind)
        raise OSError(28, "No space left on device")

    heard: list[str] = []
    decoder = ComponentConfig(name="decoder", options={"max_epochs": 5})
    with AttackerProcess(prepare(tmp_path, attacks=[decoder]), full_disk) as handle:
        handle.start()
        handle.finish(Final(round=1, rows=0), deadline_s=60)
    assert heard.count("done") == 1
    assert heard.count("learned") >= 5
    assert caplog.text.count("a message of the attacker (learned) was lost: OSError: [Errno 28] No space left") == 1


def test_a_listener_that_recovers_is_told_what_it_missed(tmp_path: Path) -> None:
    ear = Ear()

    def fail_once(message: protocol.Message) -> None:
        if isinstance(message, protocol.Attacked):
            raise ValueError("a bug")
        ear(message)

    with AttackerProcess(prepare(tmp_path), fail_once) as handle:
        handle.start()
        handle.finish(Final(round=1, rows=0), deadline_s=60)
    assert ear.wait_for_warning("(attacked) was lost: ValueError: a bug")
    assert any(isinstance(message, protocol.Done) for message in ear.heard)


def test_a_slow_listener_is_heard_out_after_the_process_has_ended(tmp_path: Path) -> None:
    release = threading.Event()
    ended = threading.Event()

    def slow(message: protocol.Message) -> None:
        if isinstance(message, protocol.Attacked):
            ended.set()
            assert release.wait(60)

    with AttackerProcess(prepare(tmp_path), slow) as handle:
        handle.start()
        finishing = threading.Thread(target=handle.finish, args=(Final(round=1, rows=0), 60))
        finishing.start()
        assert ended.wait(60)
        while handle.alive:
            finishing.join(0.05)
        finishing.join(2)  # longer than a dead process was heard out before
        assert finishing.is_alive()
        release.set()
        finishing.join(60)
    assert not finishing.is_alive()


def test_a_front_that_cannot_be_handed_over_is_the_attackers_loss(tmp_path: Path) -> None:
    settings = prepare(tmp_path)
    ear = Ear()
    handle = AttackerProcess(settings, ear)
    front_path(settings.knowledge, 2).mkdir()
    handle.publish_front(2, front())
    assert ear.wait_for_warning("the attacker does not get the front of round 2")


@pytest.mark.parametrize(("keep_rounds", "kept"), [(1, [5, 6]), (2, [4, 5, 6]), (0, [1, 2, 3, 4, 5, 6])])
def test_fronts_are_kept_as_long_as_the_observations_under_them(
    keep_rounds: int, kept: list[int], tmp_path: Path
) -> None:
    settings = prepare(tmp_path).model_copy(update={"keep_rounds": keep_rounds})
    handle = AttackerProcess(settings, Ear())
    for number in range(1, 7):
        handle.publish_front(number, front())
    assert sorted(int(path.stem) for path in (settings.knowledge / "fronts").iterdir()) == kept


def test_nothing_is_said_once_it_was_stopped(tmp_path: Path) -> None:
    """What comes after the scores were taken would change a verdict that does not know of it."""
    slow: list[str] = []
    begun = threading.Event()

    def hear(message: protocol.Message) -> None:
        if isinstance(message, protocol.Attacked):
            begun.set()
            time.sleep(0.3)
        slow.append(message.kind)

    with AttackerProcess(prepare(tmp_path), hear) as handle:

        def finish() -> None:
            with suppress(AttackError):  # where it was stopped before it could say that it was done
                handle.finish(Final(round=1, rows=0), 60)

        handle.start()
        finishing = threading.Thread(target=finish)
        finishing.start()
        assert begun.wait(60)
        handle.stop()
        said = len(slow)
        finishing.join(60)
    assert len(slow) == said


def test_what_it_cannot_be_told_waits_for_the_user(tmp_path: Path) -> None:
    settings = prepare(tmp_path)
    with AttackerProcess(settings, Ear()) as handle:
        handle.start()
        (settings.knowledge / "final.json").mkdir()
        with pytest.raises(UserError, match=r"cannot write .*final\.json"):
            handle.finish(Final(round=1, rows=0), deadline_s=60)
