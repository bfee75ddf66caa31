"""Clients in the actors of Flower's simulation engine: the same result as here, and the same losses."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from splitfed.errors import UserError
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.runners import flower_engine, local_clients, ray_clients
from splitfed.runners.ray_package import load_ray, on_loopback
from tests.federation.harness import Recorder
from tests.federation.test_checkpoint import computed
from tests.runners.on_ray import RAY_WARNINGS, ray_or_skip

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]

pytestmark = [pytest.mark.slow, *RAY_WARNINGS]


@dataclass
class Watcher(Recorder):
    """Writes down the steps too, and does something at each of them."""

    on_step: Callable[[StepReport], None] = lambda _: None
    steps: list[StepReport] = field(default_factory=list)

    def stepped(self, report: StepReport) -> None:
        self.steps.append(report)
        self.on_step(report)


def once_in(round_number: int, then: Callable[[], None]) -> Callable[[StepReport], None]:
    """Does something at the first step of this round."""
    done: list[StepReport] = []

    def on_step(report: StepReport) -> None:
        if report.round == round_number and not done:
            done.append(report)
            then()

    return on_step


def actors() -> list[psutil.Process]:
    """The actors of this process's Ray."""
    return [process for process in _children() if process.name().startswith("ray::ClientApp")]


def _children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(autouse=True)
def _nothing_left() -> object:
    """Ray's processes go with the cell, and so does what they wrote."""
    ray_or_skip()
    yield
    deadline = time.monotonic() + 20
    while (left := [p.name() for p in _children() if "ray" in p.name()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def long(job_of: JobOf) -> Job:
    """A job whose rounds take a while."""
    return job_of(federation={"batch_size": 2, "local_epochs": 15})


def test_results_and_losses_are_those_of_clients_here(job_of: JobOf, shares: Shares, tmp_path: Path) -> None:
    few = [*shares[:2], ClientImages(shares[2].train[:1], shares[2].test)]  # one that cannot train
    job = job_of("laplace")
    here, there = Watcher(), Watcher()
    local = local_clients.train(job, few, here, checkpoint=tmp_path / "local.pt")
    ray = ray_clients.train(job, few, there, checkpoint=tmp_path / "ray.pt")
    assert computed(ray) == computed(local)
    assert there.lost == here.lost
    assert [lost[:2] for lost in there.lost] == [(1, 2), (2, 2)]
    assert "holds 1 images" in there.lost[0][2]
    assert there.rounds == here.rounds
    wanted = sorted((s.round, s.client, s.step, s.steps, s.loss) for s in here.steps)
    assert sorted((s.round, s.client, s.step, s.steps, s.loss) for s in there.steps) == wanted
    for client in (0, 1):
        sent = [report.sent_bytes for report in there.steps if report.client == client]
        assert sent == sorted(sent)
        assert sent[0] < sent[-1] <= local.wire_bytes_per_image * 2 * len(shares[client].train)


def test_an_actor_that_dies_costs_time_and_one_that_dies_of_its_client_costs_the_client_its_round(
    job_of: JobOf, shares: Shares, tmp_path: Path
) -> None:
    """In round 1 an actor dies once; in round 2 the first client to take a step costs every actor that it is played
    by."""
    struck: list[tuple[int, int]] = []

    def strike(report: StepReport) -> None:
        if report.step != 0 or len([at for at, _ in struck if at == report.round]) >= report.round:
            return
        if (report.round, report.client) in struck or report.round not in [at for at, _ in struck]:
            for actor in actors():
                actor.kill()
            struck.append((report.round, report.client))

    watcher = Watcher(on_step=strike)
    result = ray_clients.train(long(job_of), shares, watcher, checkpoint=tmp_path / "cell.pt")
    assert [at for at, _ in struck] == [1, 2, 2]
    doomed = struck[-1][1]
    assert result.missed_rounds[doomed] == [2]
    assert {number for number, _, _ in watcher.lost} == {2}
    assert all(reason.startswith("its actor was lost: ") for _, _, reason in watcher.lost)
    assert all(result.audited[number] for number in range(3))


def test_one_that_is_frozen_misses_the_deadline_and_is_ended_with_the_cell(
    job_of: JobOf, shares: Shares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs an actor beside the one that is frozen")
    monkeypatch.setattr(flower_engine, "LEAVE_S", 1.0)

    def freeze() -> None:
        actors()[0].send_signal(signal.SIGSTOP)

    watcher = Watcher(on_step=once_in(1, freeze))
    job = job_of(federation={"round_deadline_s": 30})
    result = ray_clients.train(job, shares, watcher, checkpoint=tmp_path / "cell.pt")
    ((_, lost, reason),) = watcher.lost  # what it was asked last; nobody asks it again
    assert "no answer within 30 s" in reason
    assert list(result.missed_rounds) == [lost]
    assert len(result.history) == 2


def test_ctrl_c_ends_it_while_clients_are_at_work(job_of: JobOf, shares: Shares, tmp_path: Path) -> None:
    main = threading.main_thread().ident
    assert main is not None
    watcher = Watcher(on_step=once_in(2, lambda: signal.pthread_kill(main, signal.SIGINT)))
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        ray_clients.train(long(job_of), shares, watcher, checkpoint=tmp_path / "cell.pt")
    assert (tmp_path / "cell.pt").exists()
    assert [number for number, _, _ in watcher.rounds] == [1]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_what_goes_to_an_actor_with_each_message_holds_no_image(shares: Shares) -> None:
    ray = load_ray()
    with on_loopback(ray):
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        kept = ray.put([ray.put(share) for share in shares])
        carried = ray.cloudpickle.dumps(ray_clients.PlayedClients("/tmp", kept))
        assert len(carried) < 2000 < shares[0].train.pixels.nbytes
        with pytest.raises(UserError, match=r"call ray\.shutdown\(\) first"), ray_clients._started_ray(Path("/tmp")):
            raise AssertionError
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_ray_listens_on_this_machine_alone() -> None:
    with tempfile.TemporaryDirectory() as folder, ray_clients._started_ray(Path(folder)) as ray:
        ray.get(ray.remote(lambda: "started").remote())
        listening = {
            connection.laddr.ip
            for process in [psutil.Process(), *_children()]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
    assert listening
    assert all(ip.removeprefix("::ffff:").startswith("127.") for ip in listening), listening


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'splitfed\[ray\]'"):
        ray_clients.check(print)


def test_a_cluster_that_is_named_and_not_used_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray_clients.check(said.append)
    assert not said
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    ray_clients.check(said.append)
    assert "10.0.0.1:6379" in said[0]


def test_nobody_is_told_of_a_simulation() -> None:
    load_ray()
    from flwr.supercore import telemetry

    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    with flower_engine._silent():
        assert telemetry.FLWR_TELEMETRY_ENABLED == "0"
        assert telemetry.create_event(telemetry.EventType.PYTHON_API_RUN_SIMULATION_ENTER, None) == "disabled"
