"""Labels that stay with the client (U-shaped split learning): what is learned is the same to the bit, and no label
travels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from splitfed.errors import Refused, TrainingFailed
from splitfed.federation.backs import BackHost
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.federation.order import training_batches
from splitfed.federation.server_app import Federation
from splitfed.metrics.fingerprint import fingerprint
from splitfed.types import Observation, Phase
from splitfed.wire.link import DirectLink, GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello
from splitfed.wire.tap import Tap
from tests.federation.harness import Recorder, train
from tests.federation.test_checkpoint import computed
from tests.federation.test_faults import crash_at
from tests.federation.test_replies import LIAR, Lie, change_metric, lying, without_metric
from tests.federation.test_split_equals_whole import train_whole, weights_of

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
U_SHAPED = {"labels": "client"}

__all__ = ["lying"]  # the fixture


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("layers", [1, 2])
def test_weights_and_losses_equal_those_of_the_whole_network(
    layers: int, optimizer: str, job_of: JobOf, shares: Shares
) -> None:
    job = job_of(
        federation={**U_SHAPED, "optimizer": optimizer, "learning_rate": 0.02}, model={"hidden_layers": layers}
    )
    whole, losses = train_whole(job, shares)
    steps: dict[tuple[int, int, int], float] = {}

    def note(report: StepReport) -> None:
        steps[report.round, report.client, report.step] = report.loss

    result = train(job, shares, on_step=note)  # over gRPC
    assert weights_of(result) == fingerprint(whole)
    assert [steps[key] for key in sorted(steps)] == losses


@pytest.mark.parametrize("defense", ["laplace", "sca", "nopeek"])
def test_it_makes_no_difference_where_the_loss_is_computed(defense: str, job_of: JobOf, shares: Shares) -> None:
    """Of weights and figures; what travels differs."""
    there, here = (train(job_of(defense, federation={"labels": labels}), shares) for labels in ("server", "client"))
    one, other = computed(there), computed(here)
    assert one.pop("bytes") != other.pop("bytes")
    assert one == other


@pytest.mark.parametrize("codec", ["int8", "float16"])
def test_a_lossy_codec_does_the_same_with_and_without_a_wire(codec: str, job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation={**U_SHAPED, "codec": codec})
    assert weights_of(train(job, shares)) == weights_of(train(job, shares, direct=True))


def test_the_tap_observes_every_activation_and_no_label(job_of: JobOf, shares: Shares) -> None:
    seen: list[Observation] = []
    with ExitStack() as stack:

        def through_a_tap(address: str) -> list[str]:
            relay = stack.enter_context(Relay(address, observer=Tap(seen.append)))
            return [relay.address, address]

        result = train(job_of(federation=U_SHAPED), shares, watcher=Recorder(route_to=through_a_tap))
    assert all(observation.labels is None for observation in seen)
    rows = {phase: sum(len(o.activation) for o in seen if o.phase is phase) for phase in Phase}
    assert rows == {Phase.TRAIN: 2 * 480, Phase.TEST: 2 * 240, Phase.AUDIT: sum(result.audited.values())}


def test_a_client_that_dies_leaves_nothing_of_its_round(job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation=U_SHAPED)
    early, late = (train(job, shares, before_step=crash_at(1, 2, step)) for step in (1, 4))
    assert {**computed(early), "bytes": 0} == {**computed(late), "bytes": 0}
    assert early.missed_rounds == {1: [2]}


def test_a_resumed_run_ends_with_the_same_weights(job_of: JobOf, shares: Shares, tmp_path: Path) -> None:
    job, kept = job_of(federation=U_SHAPED), tmp_path / "cell.pt"

    def crash(number: int) -> None:
        if number == 2:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(job, shares, direct=True, checkpoint=kept, watcher=Recorder(on_round=crash))
    assert computed(train(job, shares, direct=True, checkpoint=kept)) == computed(train(job, shares, direct=True))


def test_who_holds_the_head_reads_the_labels_from_the_gradient_by_the_features(job_of: JobOf, shares: Shares) -> None:
    """That labels do not travel does not keep them secret, and the documentation says so."""
    job = job_of(federation={**U_SHAPED, "rounds": 1})
    first: dict[int, Tensor] = {}

    class Spied(DirectLink):
        def __init__(self, host: BackHost, hello: Hello) -> None:
            super().__init__(host, hello)
            self._client = hello.client

        def backward(self, step: int, gradient: Tensor) -> Tensor:
            first.setdefault(self._client, gradient.clone())
            return super().backward(step, gradient)

    train(job, shares, direct=True, link=Spied)
    head = job.back().parts()[1]  # as each participant gets it
    for client, gradient in first.items():
        rows = training_batches(job, client, len(shares[client].train), 1)[0]
        excess = gradient @ torch.linalg.pinv(head.get_parameter("weight"))  # (probabilities - labels) / batch
        assert torch.equal(excess.argmin(dim=1), shares[client].train.labels[rows])
    assert len(first) == 3


def test_a_training_that_diverges_has_failed_and_names_the_cure(job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation={**U_SHAPED, "learning_rate": 1e30})
    with pytest.raises(TrainingFailed, match=r"round 1: .*lower (the|federation\.)\s?learning.rate"):
        train(job, shares, direct=True)


LIES: dict[str, tuple[Lie, str]] = {
    "more right than there are": (change_metric("correct", 161), "says correct 161; its stream held 160"),
    "fewer than none": (change_metric("correct", -1), "says correct -1; expected a whole number"),
    "no count": (without_metric("correct"), "has no correct among its metrics"),
    "a negative loss": (change_metric("loss", -0.5), r"says loss -0\.5; expected 0 to"),
    "an endless loss": (change_metric("loss", float("inf")), "says loss inf in its metrics"),
    "a loss beyond float32": (change_metric("loss", 1e300), r"says loss 1e\+300; expected 0 to 3\.4"),
    "no loss": (without_metric("loss"), "has no loss among its metrics"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_client_that_lies_about_its_images_is_lost_for_the_round(
    name: str, lying: Callable[..., None], job_of: JobOf, shares: Shares
) -> None:
    lie, reason = LIES[name]
    lying(lie)
    watcher = Recorder()
    result = train(job_of(federation=U_SHAPED), shares, direct=True, watcher=watcher)
    assert [(number, client) for number, client, _ in watcher.lost] == [(1, LIAR), (2, LIAR)]
    assert all(re.search(reason, said) for *_, said in watcher.lost), watcher.lost
    assert all(0 <= figure < 10 for figures in result.history for figure in figures)


def test_a_client_that_lies_in_an_evaluation_is_out_of_its_figures(
    lying: Callable[..., None], job_of: JobOf, shares: Shares
) -> None:
    job = job_of(federation=U_SHAPED)
    honest = train(job, [*shares[:2], replace(shares[2], test=shares[2].test[:0])], direct=True)
    lying(change_metric("correct", 10**6), kind="evaluate")
    lied = train(job, shares, direct=True)
    assert lied.missed_rounds == {LIAR: [1, 2, 3]}
    assert lied.history == honest.history


@pytest.mark.parametrize("keeps", [False, True])
def test_a_stream_whose_labels_are_not_where_they_should_be_is_refused(keeps: bool, job_of: JobOf) -> None:
    job = job_of(federation={"labels": "server" if keeps else "client"})
    federation = Federation(job, Recorder())
    federation.host.begin(1, Phase.TRAIN)
    hello = Hello(job.run, 1, 0, Phase.TRAIN, (48,), token=client_token("secret", 0), keeps_labels=keeps)
    with (
        SplitServer(federation.host, secret="secret") as server,
        pytest.raises(Refused, match="BAD_LABELS: .*labels stay with you; in this run they travel" if keeps else "BAD"),
    ):
        GrpcLink([server.address], hello)


def test_the_server_never_holds_the_head_in_its_sessions(job_of: JobOf) -> None:
    """What it serves ends with the last hidden layer; the head is averaged with the fronts."""
    federation = Federation(job_of(federation=U_SHAPED), Recorder())
    assert [tuple(p.shape) for p in federation.host.back.parameters()] == [(48, 48), (48,)]
    assert {"head.weight", "head.bias"} < set(federation.held.state_dict())
    assert torch.equal(federation.held.state_dict()["head.weight"], federation.back.state_dict()["layers.2.weight"])
