"""What the tap recorded of the audit, and what it proves: coverage, the held front, the defense's own mechanism."""

from __future__ import annotations

from collections.abc import Sequence

from splitfed.attacker.protocol import Done
from splitfed.defenses.base import Defense, TapEvidence
from splitfed.experiment.context import CellContext
from splitfed.experiment.identification import Identification, identify
from splitfed.experiment.linked import linked_oracle
from splitfed.federation.client import Client
from splitfed.federation.client_app import connect_over_grpc
from splitfed.federation.outcome import FederationResult
from splitfed.federation.repeated import (
    CHECKED_BATCHES,
    ends,
    not_reproduced,
    payload_bytes_per_image,
    rows_seen,
    tap_evidence,
)
from splitfed.federation.task import Task
from splitfed.metrics import gates
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.gates import GateResult
from splitfed.records.linked import LinkedOracle
from splitfed.types import Images, Observation, Phase, Reconstruction
from splitfed.wire.observations import read_observations


class AuditEvidence:
    """The tapped audit of one cell, beside the trained victim; ``observed`` are its batches by client and step."""

    def __init__(self, context: CellContext, result: FederationResult) -> None:
        self._context = context
        self._result = result
        self.observed = _audited(context)

    def of_defense(self) -> TapEvidence | None:
        """What the tap saw of the first client whose audit it saw, beside what the client's front gives."""
        observed = self.observed[:CHECKED_BATCHES]
        if not observed:
            return None
        clients, number = self._context.clients, observed[0].client
        own = [observation for observation in observed if observation.client == number]
        plan = self._context.job.plan([len(client.train) for client in clients])
        return tap_evidence(self._victim(number), own, self._result.measures, plan)

    def identification(
        self, defense: Defense, evidence: TapEvidence | None, reconstructions: Sequence[Reconstruction]
    ) -> Identification | None:
        """Who is found again among the victims of all clients; None where nothing was observed that is known to be
        theirs."""
        if evidence is None:
            return None
        try:
            return identify(self.observed, reconstructions, self._context.truth, defense, evidence)
        except IndexError:  # the tap has rows that nobody sent: other gates say so
            return None

    def linked(self, identified: Identification | None, auxiliary: Images) -> LinkedOracle | None:
        """What linking the observations of an image would be worth to who could; None where that cannot be said."""
        scenario = self._context.run.scenario
        if identified is None or not scenario.attacker.training_streams or not self._context.job.defense().randomized:
            return None
        try:
            return linked_oracle(self._context, self._result, self.observed, identified, auxiliary)
        except IndexError:  # as in `identification`
            return None

    def sealed(self, done: Done | None) -> bool:
        """Whether the wire was to be under TLS, and the attacker found it so and read nothing.

        Args:
            done: what the attacker says at its end; one that broke down has found nothing.
        """
        return self._context.run.scenario.sealed and _ciphertext(done) > 0 and not self._rows_read()

    def coverage(self, done: Done | None) -> GateResult:
        """Gate: whether the attacker has what the clients sent in the audit."""
        audited, scenario = self._result.audited, self._context.run.scenario
        sent = sum(audited.values())
        if scenario.sealed:
            return gates.sealed_wire(read=self._rows_read(), sent=sent, ciphertext=_ciphertext(done))
        by = "the server" if scenario.attacker.vantage == "server" else "the tap"
        return gates.tap_coverage(rows_seen(self.observed, audited), sent, wanted=scenario.attacker.coverage, by=by)

    def _rows_read(self) -> int:
        """Of all phases that were recorded."""
        return sum(len(observation.activation) for observation in read_observations(self._context.observations))

    def held_front(self, front_before: str) -> GateResult:
        """Gate: whether the front that the attacker held made what the tap has; some batches are made once more.

        Args:
            front_before: the fingerprint of the front that the attacker says it held; empty where it says nothing.
        """
        chosen = {number: ends(own) for number, own in self._by_client().items()}
        differing = [batch for number, own in chosen.items() for batch in not_reproduced(self._victim(number), own)]
        return gates.held_front(
            held=front_before,
            final=fingerprint(self._result.front.state_dict()),
            checked=sum(map(len, chosen.values())),
            differing=differing,
        )

    def activation_bytes_per_image(self) -> float | None:
        """Measured on what was observed: the codec's payload for the audit's batches; None where nothing was."""
        observed = self.observed[:CHECKED_BATCHES]
        codec = self._context.run.scenario.federation.codec
        return payload_bytes_per_image(observed, codec) if observed else None

    def _by_client(self) -> dict[int, list[Observation]]:
        by_client: dict[int, list[Observation]] = {}
        for observation in self.observed:
            by_client.setdefault(observation.client, []).append(observation)
        return by_client

    def _victim(self, number: int) -> Task:
        """A client of this number that holds the final front and has done nothing yet."""
        job = self._context.job
        victim = Task(Client(job, number, self._context.clients[number], connect_over_grpc(job)))
        victim.front.load_state_dict(self._result.front.state_dict())
        victim.front.eval()
        return victim


def _ciphertext(done: Done | None) -> int:
    """Connections that the tap found under TLS."""
    return done.ciphertext if done is not None else 0


def _audited(context: CellContext) -> Sequence[Observation]:
    seen = read_observations(context.observations, round=context.audit_round, phase=Phase.AUDIT)
    return sorted((o for o in seen if o.client < len(context.clients)), key=lambda o: (o.client, o.step))
