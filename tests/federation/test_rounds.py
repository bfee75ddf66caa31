"""A round is a client's own: what one that is late or lost did in it changes nothing of the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import pytest
from flwr.app import Message

from splitfed.defenses import build
from splitfed.errors import PluginError
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.runners.local_grid import LocalGrid
from splitfed.seeding import generator
from splitfed.types import Phase
from splitfed.wire.session import Hello
from tests.defenses.quick import quick
from tests.federation.harness import BeforeStep, Recorder, train
from tests.federation.test_checkpoint import computed

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
LATE = 1
"""The client that is late in round 1."""


class CrashError(RuntimeError):
    """A client's process that dies."""


def crash_at(step: int) -> BeforeStep:
    def before_step(hello: Hello, at: int) -> None:
        if (hello.client, hello.round, hello.phase, at) == (LATE, 1, Phase.TRAIN, step):
            raise CrashError

    return before_step


class Slow:
    """The late client stands still at a step of round 1, and goes on once round 2 is trained by the same client."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stands = threading.Event()
        self.may_go_on = threading.Event()
        self.steps_after = 0

    def __call__(self, hello: Hello, step: int) -> None:
        if (hello.client, hello.phase) != (LATE, Phase.TRAIN):
            return
        if hello.round == 2 and step == 1:
            self.may_go_on.set()
        if (hello.round, step) == (1, self.step):
            self.stands.set()
            assert self.may_go_on.wait(60)
        self.steps_after += hello.round == 1 and step > self.step


class Impatient(LocalGrid):
    """A grid whose deadline is over as soon as all but a client that stands still have answered."""

    slow: Slow

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        if sent[0].metadata.message_type != "train" or self.slow.stands.is_set():
            return super().send_and_receive(sent, timeout=timeout)
        late = [message for message in sent if message.metadata.dst_node_id == LATE + 1]
        self.push_messages(late)
        assert self.slow.stands.wait(60)
        return super().send_and_receive([message for message in sent if message not in late], timeout=timeout)


@pytest.mark.parametrize(
    ("name", "direct"),
    [*((name, True) for name in ("none", "laplace", "gong++", "dpsgd", "sca")), ("none", False), ("gong++", False)],
)
def test_a_late_client_is_as_one_that_crashed_in_that_round(
    name: str, direct: bool, job_of: JobOf, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(name, options=dict(quick(name).options))
    crashed = train(job, shares, direct=direct, before_step=crash_at(2))
    slow = Slow(step=2)
    monkeypatch.setattr("tests.federation.harness.LocalGrid", Impatient)
    monkeypatch.setattr(Impatient, "slow", slow, raising=False)
    watcher = Recorder()
    late = train(job, shares, direct=direct, before_step=slow, watcher=watcher)
    assert slow.may_go_on.is_set()
    assert slow.steps_after == 0  # it left as soon as it could
    assert [(number, client) for number, client, _ in watcher.lost] == [(1, LATE)]
    assert "no answer within" in watcher.lost[0][2]
    assert _without_bytes(computed(late)) == _without_bytes(computed(crashed))


def _without_bytes(found: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if name != "bytes"}


@pytest.mark.parametrize("name", ["gong++", "dpsgd", "bido"])
def test_it_makes_no_difference_when_in_a_round_a_client_is_lost(name: str, job_of: JobOf, shares: Shares) -> None:
    job = job_of(name, options=dict(quick(name).options))
    first, later = (train(job, shares, direct=True, before_step=crash_at(step)) for step in (0, 3))
    assert computed(first) == computed(later)


def test_a_client_that_is_late_every_time_delays_nothing_but_its_own_part(job_of: JobOf, shares: Shares) -> None:
    """With the scenario's own deadline. What the client was given up for is still at work when it is audited."""
    may_go_on = threading.Event()

    def stand_still(hello: Hello, _: int) -> None:
        if hello.client == LATE and hello.phase is Phase.TRAIN:
            assert may_go_on.wait(60)

    def release(number: int) -> None:
        if number == 2:
            may_go_on.set()

    watcher = Recorder(on_round=release)
    job = job_of(federation={"round_deadline_s": 3})
    result = train(job, shares, direct=True, watcher=watcher, before_step=stand_still)
    assert result.missed_rounds == {LATE: [1, 2]}
    assert {reason for *_, reason in watcher.lost} == {"no answer within 3 s (federation.round_deadline_s)"}
    assert result.audited[LATE] == len(shares[LATE].train)


def test_a_stack_prepares_in_the_rounds_of_its_layers_whichever_a_client_missed() -> None:
    stack = build("stack", {"layers": [{"name": "sca", "first_rounds": 2}, {"name": "laplace"}]})
    assert [stack.begin_round(number).round for number in (1, 2)] == [1, 2]
    assert stack.round == 0
    layers = getattr(stack.begin_round(2), "layers")  # noqa: B009 - of a stack alone
    assert [layer.round for layer in layers] == [2, 2]


def test_what_a_round_does_stays_in_the_round(shares: Shares) -> None:
    defense = build("gong++", dict(quick("gong++").options))
    own = shares[0].train[:64]
    defense.generate(own, generator(0, "generate"))
    one = defense.begin_round(1)
    assert getattr(one, "_own") is getattr(defense, "_own")  # noqa: B009 - images are not copied
    setattr(one, "_anchor", "moved")  # noqa: B010
    assert getattr(defense.begin_round(2), "_anchor") is None  # noqa: B009


def test_a_defense_that_keeps_what_cannot_be_copied_is_told_so() -> None:
    defense = build("none", {})
    setattr(defense, "lock", threading.Lock())  # noqa: B010
    with pytest.raises(PluginError, match="defense none: what it keeps cannot be copied for a round"):
        defense.begin_round(1)
