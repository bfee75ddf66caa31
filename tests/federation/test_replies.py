"""One bad reply costs its client the round, with the reason, and nobody else anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from splitfed.errors import SplitfedError, TrainingFailed
from splitfed.federation.backs import BackHost
from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.types import Phase
from splitfed.wire.link import DirectLink
from splitfed.wire.session import Hello, StepResult
from tests.federation.harness import Recorder, train
from tests.federation.test_checkpoint import computed

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
Lie = Callable[[Message], object]
"""Changes a reply, or gives another one instead."""
LIAR = 2


class Lying:
    """A ClientApp that is honest but for the replies of one client to one kind of Message."""

    def __init__(self, honest: ClientApp, lie: Lie, kind: str, clients: Sequence[int]) -> None:
        self._honest, self._lie, self._kind, self._clients = honest, lie, kind, clients

    def __call__(self, message: Message, context: Context) -> object:
        reply = self._honest(message, context)
        told = int(context.node_config["partition-id"]) in self._clients and message.metadata.message_type == self._kind
        return (self._lie(reply) or reply) if told and not reply.has_error() else reply


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have clients lie, client 2 by default, in answer to training."""

    def install(lie: Lie, *, kind: str = "train", clients: Sequence[int] = (LIAR,)) -> None:
        monkeypatch.setattr(
            "tests.federation.harness.build_client_app",
            lambda *given, **named: Lying(build_client_app(*given, **named), lie, kind, clients),
        )

    return install


def change_array(change: Callable[[np.ndarray], np.ndarray]) -> Lie:
    """Change the first array of the front."""

    def lie(reply: Message) -> None:
        arrays = reply.content.array_records["arrays"]
        name = next(iter(arrays))
        arrays[name] = Array(change(arrays[name].numpy().copy()))

    return lie


def change_metric(name: str, value: float | list[float]) -> Lie:
    def lie(reply: Message) -> None:
        reply.content.metric_records["metrics"][name] = value

    return lie


def one_nan(weights: np.ndarray) -> np.ndarray:
    weights.flat[7] = np.nan
    return weights


def renamed(reply: Message) -> None:
    arrays = reply.content.array_records["arrays"]
    arrays["body.renamed"] = arrays.pop("body.0.weight")


def garbled(reply: Message) -> None:
    arrays = reply.content.array_records["arrays"]
    name = next(iter(arrays))
    arrays[name] = Array(arrays[name].dtype, arrays[name].shape, arrays[name].stype, b"no array")


def without(record: str) -> Lie:
    return lambda reply: reply.content.pop(record) and None


def without_metric(name: str) -> Lie:
    return lambda reply: reply.content.metric_records["metrics"].pop(name) and None


def measured(value: float | str) -> Lie:
    def lie(reply: Message) -> None:
        reply.content["measures"] = ConfigRecord({"regularizer": value})

    return lie


def leave_the_interpreter(_: Message) -> None:
    sys.exit("gone")


LIES: dict[str, tuple[Lie, str]] = {
    "a NaN in the front": (change_array(one_nan), r"body\.0\.weight has NaN or infinite numbers"),
    "a shape that would be broadcast": (
        change_array(lambda weights: weights[:, :1]),
        r"body\.0\.weight is float32 \(48, 1\); expected float32 \(48, 64\)",
    ),
    "another type": (change_array(lambda weights: weights.astype(np.float64)), r"is float64 .* expected float32"),
    "a renamed array": (renamed, r"lacks 'body\.0\.weight' and has 'body\.renamed' that nobody asked for"),
    "bytes that are no array": (garbled, r"body\.0\.weight cannot be read"),
    "no front": (without("arrays"), "its reply has no record 'arrays'; it has 'metrics'|has nothing"),
    "no metrics": (without("metrics"), "its reply has no record 'metrics'"),
    "no measures": (without("measures"), "its reply has no record 'measures'"),
    "no count of examples": (without_metric("num-examples"), "has no num-examples among its metrics"),
    "too many examples": (change_metric("num-examples", 10**9), "says num-examples 1000000000; its stream held 160"),
    "negative examples": (change_metric("num-examples", -480), "says num-examples -480; expected a whole number"),
    "half an example": (change_metric("num-examples", 0.5), "says num-examples 0.5; expected a whole number"),
    "a list of counts": (change_metric("num-examples", [160.0]), r"says num-examples \[160.0\] in its metrics"),
    "negative bytes": (change_metric("sent-bytes", -1), "says sent-bytes -1; expected a whole number, 0 or more"),
    "endless bytes": (change_metric("received-bytes", float("inf")), "says received-bytes inf in its metrics"),
    "a measure that is NaN": (measured(float("nan")), "says regularizer nan in its measures; expected a finite number"),
    "a measure in words": (measured("much"), "says regularizer 'much' in its measures"),
    "another's reply": (lambda reply: _from_node(reply, 1), "expected its own reply"),
    "no reply": (lambda _: "nothing", "its ClientApp gave 'nothing'; expected its own reply"),
    "the end of the interpreter": (leave_the_interpreter, "SystemExit: gone"),
}


def _from_node(reply: Message, node: int) -> Message:
    reply.metadata.__dict__["_src_node_id"] = node
    return reply


@pytest.mark.parametrize("name", LIES)
def test_a_client_that_lies_is_lost_for_the_round_with_the_reason(
    name: str, lying: Callable[..., None], job_of: JobOf, shares: Shares
) -> None:
    lie, reason = LIES[name]

    def crash(hello: Hello, _: int) -> None:
        if (hello.client, hello.phase) == (LIAR, Phase.TRAIN):
            raise ValueError

    without_it = computed(train(job_of(), shares, direct=True, before_step=crash))
    lying(lie)
    watcher = Recorder()
    result = train(job_of(), shares, direct=True, watcher=watcher)
    assert [(number, client) for number, client, _ in watcher.lost] == [(1, LIAR), (2, LIAR)]
    assert all(re.search(reason, said) for *_, said in watcher.lost), watcher.lost
    assert computed(result) == without_it


def test_who_a_reply_is_from_says_the_node_and_not_the_reply(
    lying: Callable[..., None], job_of: JobOf, shares: Shares
) -> None:
    honest = computed(train(job_of(), shares, direct=True))
    lying(change_metric("client", 0))
    watcher = Recorder()
    assert computed(train(job_of(), shares, direct=True, watcher=watcher)) == honest
    assert watcher.lost == []


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (change_metric("num-examples", 10**9), "says num-examples 1000000000; expected 1 to 480"),
        (change_metric("num-examples", 0), "says num-examples 0; expected 1 to 480"),
        (without("arrays"), "has no record 'arrays'"),
        (change_array(one_nan), "has NaN or infinite numbers"),
    ],
)
def test_a_client_that_lies_in_the_preparation_is_lost_for_it(
    lie: Lie, reason: str, lying: Callable[..., None], job_of: JobOf, shares: Shares
) -> None:
    lying(lie, kind="train.prepare")
    watcher = Recorder()
    result = train(job_of("sca", options={"first_rounds": 1, "first_steps": 1}), shares, direct=True, watcher=watcher)
    assert result.missed_rounds == {LIAR: [0]}
    assert watcher.lost[0][2].startswith("preparation round 1 of 1: ")
    assert reason in watcher.lost[0][2]


def test_where_all_lie_the_training_has_failed_and_no_checkpoint_is_left(
    lying: Callable[..., None], job_of: JobOf, shares: Shares, tmp_path: Path
) -> None:
    lying(change_array(one_nan), clients=(0, 1, 2))
    kept = tmp_path / "cell.pt"
    with pytest.raises(TrainingFailed, match=r"round 1: no client finished: 3 × its front's body\.0\.weight has NaN"):
        train(job_of(), shares, direct=True, checkpoint=kept)
    assert not kept.exists()


class Idle(DirectLink):
    """A stream that says that it is through without having sent an image."""

    def forward(self, *_: object) -> StepResult:
        return StepResult(0.0, 0, None)

    def done(self, *_: int) -> None:
        self._session.finish(0, 0)


def test_an_evaluation_that_did_not_happen_is_no_accuracy_of_zero(job_of: JobOf, shares: Shares) -> None:
    def connect(host: BackHost, hello: Hello) -> DirectLink:
        return (Idle if hello.phase is Phase.TEST else DirectLink)(host, hello)

    with pytest.raises(SplitfedError, match=r"the test of round 1: no client finished: 3 × .*has sent no image"):
        train(job_of(), shares, direct=True, link=connect)
