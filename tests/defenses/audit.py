"""A short federation over the digits, and what a tap sees of its audit: the evidence of gate 4."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from splitfed.defenses.base import TapEvidence
from splitfed.federation.backs import BackHost
from splitfed.federation.client import Client, ClientImages
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.repeated import tap_evidence
from splitfed.federation.task import Task
from splitfed.metrics.gates import GateResult, defense_acts
from splitfed.types import Observation, Phase
from splitfed.wire.link import DirectLink
from splitfed.wire.session import Hello, StepResult
from tests.federation.harness import train


class TappedLink(DirectLink):
    """No wire, but a tap: what leaves the client is kept."""

    def __init__(self, host: BackHost, hello: Hello, seen: list[Observation]) -> None:
        super().__init__(host, hello)
        self._seen = seen

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        hello = self._hello
        self._seen.append(Observation(hello.run, hello.round, hello.client, hello.phase, step, activation, labels))
        return super().forward(step, activation, labels)


def audited(job: Job, shares: Sequence[ClientImages]) -> TapEvidence:
    """Train, then audit the first client under a tap."""
    result = train(job, shares, direct=True)
    seen: list[Observation] = []
    host = _host(job, result)
    victim = Task(Client(job, 0, shares[0], lambda _, hello: TappedLink(host, hello, seen)))
    victim.front.load_state_dict(result.front.state_dict())
    victim.evaluate(Phase.AUDIT, host.round, [])
    return tap_evidence(victim, seen, result.measures, job.plan([len(s.train) for s in shares]))


def gate(job: Job, evidence: TapEvidence) -> GateResult:
    """Gate 4 on this evidence."""
    return defense_acts(job.defense().findings(evidence))


def _host(job: Job, result: FederationResult) -> BackHost:
    host = BackHost(
        back=result.back,
        optimizer=job.optimizer,
        defense=job.defense(),
        noise=job.back_noise,
        run=job.run,
        clients=job.scenario.federation.clients,
        activation_shape=(job.released,),
        classes=job.classes,
    )
    host.begin(job.scenario.federation.rounds + 1, Phase.AUDIT)
    return host
