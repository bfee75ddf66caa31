"""The role by itself: it runs until it is done or told to end, whatever its standard input is."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from splitfed.attacker import protocol
from splitfed.attacker.config import ComponentConfig
from splitfed.stopping import GRACE_S
from splitfed.wire.address import join_address, split_address
from tests.attacker.quick import SLOW, Role, finish, has_ended, observe, prepare

PROMPT_S = GRACE_S + 2
"""Within this time a signal ends the role."""


@contextmanager
def no_input() -> Iterator[dict[str, Any]]:
    yield {"stdin": subprocess.DEVNULL}


@contextmanager
def open_pipe() -> Iterator[dict[str, Any]]:
    yield {"stdin": subprocess.PIPE}


@contextmanager
def terminal() -> Iterator[dict[str, Any]]:
    ours, theirs = pty.openpty()
    try:
        yield {"stdin": theirs}
    finally:
        os.close(theirs)
        os.close(ours)


@contextmanager
def closed() -> Iterator[dict[str, Any]]:
    yield {"through": ["sh", "-c", 'exec "$@" <&-', "sh"]}


INPUTS = [no_input, open_pipe, terminal, closed]
Input = Callable[[], Any]


def test_it_ends_when_its_attacks_are_done_whatever_its_input_is(tmp_path: Path) -> None:
    with ExitStack() as stack:
        roles = []
        for given in INPUTS:
            settings = prepare(tmp_path / given.__name__)
            finish(settings)
            roles.append(stack.enter_context(Role(settings, **stack.enter_context(given()))))
        for role in roles:
            code, said, errors = role.end()
            assert code == 0, errors
            assert errors == ""
            assert isinstance(said[-1], protocol.Done)
    assert (tmp_path / "terminal" / "out" / "ridge.npz").is_file()


@pytest.mark.parametrize("given", INPUTS)
def test_a_mistake_gets_one_line_and_exit_code_2_whatever_its_input_is(given: Input, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = prepare(tmp_path).model_copy(update={"listen": address})
        with given() as options, Role(settings, **options) as role:
            code, said, errors = role.end()
    assert code == 2
    assert errors.startswith("splitfed: cannot listen on port ")
    assert errors.count("\n") == 1
    assert said == []


def test_without_input_it_waits_for_training_to_end(tmp_path: Path) -> None:
    settings = prepare(tmp_path)
    with Role(settings) as role:
        role.hear(protocol.Learned)
        finish(settings)
        code, said, _ = role.end()
    assert code == 0
    assert isinstance(said[-1], protocol.Done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["at the start", "while learning", "at the end"])
def test_a_signal_ends_it_soon_and_leaves_whole_files(number: signal.Signals, moment: str, tmp_path: Path) -> None:
    settings = prepare(tmp_path, attacks=[ComponentConfig(name="ridge"), SLOW])
    if moment == "at the end":
        finish(settings)
    with Role(settings) as role:
        role.hear(protocol.Listening if moment == "at the start" else protocol.Learned)
        if moment == "at the end":
            role.hear(protocol.Attacked)
            role.hear(protocol.Learned)
        began = time.monotonic()
        role.process.send_signal(number)
        code, said, errors = role.end(within_s=PROMPT_S)
    assert time.monotonic() - began < PROMPT_S
    assert code == 128 + number
    assert errors.startswith(f"splitfed: the attacker was ended by {number.name} before its attacks were done")
    assert errors.count("\n") == 1
    assert not any(isinstance(message, protocol.Done) for message in said)
    assert not list((tmp_path / "out").glob("*.partial*"))
    assert (tmp_path / "out" / "ridge.npz").is_file() == (moment == "at the end")
    for path in (tmp_path / "out").glob("*.npz"):
        with np.load(path) as stored:
            assert stored["images"].shape[1:] == settings.shape


def test_no_tap_is_no_reason_to_hang_with_a_client_connected(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = join_address(*server.getsockname())
        settings = prepare(tmp_path).model_copy(update={"upstream": address})
        settings.observations.write_text("in the way")
        with Role(settings) as role:
            listening = role.hear(protocol.Listening)
            assert isinstance(listening, protocol.Listening)
            assert listening.address is not None
            with socket.create_connection(split_address(listening.address)) as client, server.accept()[0] as relayed:
                client.sendall(b"hello")
                assert relayed.recv(5) == b"hello"
                code, _, errors = role.end()
    assert code == 2
    assert "observations: the folder" in errors


def test_without_an_upstream_it_opens_no_port_and_works_on_what_somebody_else_records(tmp_path: Path) -> None:
    made = []
    for name, upstream in (("server", None), ("wire", "127.0.0.1:1")):
        settings = prepare(tmp_path / name).model_copy(update={"upstream": upstream})
        observe(settings)
        finish(settings)
        with Role(settings) as role:
            listening = role.hear(protocol.Listening)
            assert isinstance(listening, protocol.Listening)
            assert (listening.address is None) == (upstream is None)
            assert not upstream or listening.address
            listens = [c for c in psutil.Process(role.process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
            assert len(listens) == (upstream is not None)
            code, said, errors = role.end()
        assert code == 0, errors
        assert isinstance(said[-1], protocol.Done)
        assert (said[-1].observed, said[-1].unparsed, said[-1].ciphertext) == (64, 0, 0)
        made.append(np.load(settings.out / "ridge.npz")["images"])
    assert len(made[0]) == 64
    assert np.array_equal(made[0], made[1])


def test_a_pipe_to_end_with_must_be_one(tmp_path: Path) -> None:
    with Role(prepare(tmp_path), "--ends-with", "77") as role:
        code, _, errors = role.end()
    assert code == 2
    assert "--ends-with 77: no file is open under that number" in errors


LAB = """
import signal, sys
from pathlib import Path
from splitfed.attacker.config import load_config
from splitfed.experiment.attacker_process import AttackerProcess
handle = AttackerProcess(load_config(Path(sys.argv[1])), lambda message: None)
handle.start()
print(handle.pid, flush=True)
signal.pause()
"""


def test_a_lab_that_is_killed_leaves_no_attacker_behind(tmp_path: Path) -> None:
    settings = prepare(tmp_path, attacks=[SLOW])
    file = tmp_path / "settings.json"
    file.write_text(settings.model_dump_json(), encoding="utf-8")
    with subprocess.Popen([sys.executable, "-P", "-c", LAB, str(file)], stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        pid = int(lab.stdout.readline())
        assert not has_ended(pid, within_s=0)
        lab.kill()
        assert has_ended(pid, within_s=PROMPT_S)


def test_cells_at_a_time_change_nothing_in_what_a_trained_attack_makes(tmp_path: Path) -> None:
    """Two at a time, then one alone; of the same number of threads."""
    made = []
    for beside in (["a", "b"], ["c"]):
        with ExitStack() as stack:
            roles = []
            for name in beside:
                decoder = ComponentConfig(name="decoder", options={"max_epochs": 3})
                settings = prepare(tmp_path / name, attacks=[decoder])
                observe(settings)
                finish(settings)
                roles.append(stack.enter_context(Role(settings)))
            assert [role.end()[0] for role in roles] == [0] * len(roles)
        made += [np.load(tmp_path / name / "out" / "decoder.npz")["images"] for name in beside]
    assert len(made[0]) == 64
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
