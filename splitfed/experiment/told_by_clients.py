"""A cell whose lab has no images hears what the clients say: scores, counts, and what nobody can say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from splitfed.attacker.protocol import Attacked
from splitfed.experiment.told_scores import BASELINES, CLASS_MEAN, ByClient, attack_score_told
from splitfed.federation.outcome import FederationResult
from splitfed.metrics import gates
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.gates import GateResult
from splitfed.records.results import AttackScore
from splitfed.roles.lab_protocol import Agreed, Judged, Scored, Tapped, Unjudged, Verdict

MOST_REASONS = 3


class ToldByClients:
    """Collects what is said of one cell.

    Attributes:
        agreed: what the clients hold alike.
        tapped: what the attacker has of the audit.
        judged: what each client found, by its number.
        unjudged: what nobody says.
    """

    def __init__(self) -> None:
        self.agreed: Agreed | None = None
        self.tapped = Tapped(rows={}, activation_bytes_per_image=0.0)
        self.judged: dict[int, Judged] = {}
        self.unjudged: list[Unjudged] = []
        self._attacks: dict[str, dict[int, Scored]] = {}
        self._baselines: dict[str, dict[int, Scored]] = {name: {} for name in BASELINES}

    def hear(self, verdict: Verdict) -> None:
        """One piece of it."""
        match verdict:
            case Agreed():
                self.agreed = verdict
            case Tapped():
                self.tapped = verdict
            case Judged():
                self.judged[verdict.client] = verdict
            case Unjudged():
                self.unjudged.append(verdict)
            case Scored():
                kind = self._baselines if verdict.baseline else self._attacks
                kind.setdefault(verdict.what, {})[verdict.client] = verdict

    @property
    def sought(self) -> set[int]:
        """Among how many images clients sought the original of a reconstruction."""
        return {len(each.hit) for told in self._attacks.values() for each in told.values() if each.hit}

    def baseline(self, name: str) -> ByClient:
        """The scores of a predictor."""
        return self._baselines[name]

    def score(self, attack: str, *, seed: int, sent: int) -> AttackScore | None:
        """What this attack reached; None where no client scored it."""
        told = self._attacks.get(attack)
        return attack_score_told(told, self._baselines[CLASS_MEAN], seed=seed, sent=sent) if told else None

    def gates(
        self, reports: Sequence[Attacked], result: FederationResult, *, held: str, coverage: float
    ) -> list[GateResult]:
        """The gates that need the tap, or the images.

        Args:
            reports: of the attacks and the controls.
            result: the trained cell.
            held: the fingerprint of the front that the attacker says it held; empty where it says nothing.
            coverage: the share of the audit that the tap is to have.
        """
        sent = {client: images for client, images in result.audited.items() if images}
        seen = sum(min(self.tapped.rows.get(str(client), 0), images) for client, images in sent.items())
        return [
            gates.tap_coverage(seen, sum(sent.values()), wanted=coverage),
            self._scored_by(reports, sent),
            *(self._by_all(gate, sent) for gate in self._of_judges(result, held)),
        ]

    def _scored_by(self, reports: Sequence[Attacked], sent: Collection[int]) -> GateResult:
        """Whether each client scored what every attack made of its images, and the baselines."""
        wanted = [*((report.attack, self._attacks.get(report.attack, {})) for report in reports)]
        tapped = {client for client in sent if self.tapped.rows.get(str(client), 0)}
        missing = [f"{name} of client {c}" for name, told in wanted for c in sorted(tapped - told.keys())]
        missing += [
            f"{name} of client {c}" for name, told in self._baselines.items() for c in sorted(set(sent) - told.keys())
        ]
        detail = (
            f"each of {len(sent)} clients scored what {len(wanted)} attacks and controls made of its own images, and "
            f"{len(BASELINES)} baselines"
        )
        return GateResult("scored_by_clients", not missing, self._why(missing) if missing else detail)

    def _of_judges(self, result: FederationResult, held: str) -> list[GateResult]:
        """The gates for which clients look at their own images, of those clients that did."""
        judges = [self.judged[client] for client in sorted(self.judged)]
        differing = [f"one of client {each.client}" for each in judges for _ in range(each.differing)]
        failed = sum(each.failed for each in judges)
        findings = sum(each.findings for each in judges)
        acts = f"{failed} of {findings} findings of the clients on their own tapped batches say that it does not act"
        shared = sum(each.shared for each in judges)
        own = max((each.auxiliary for each in judges), default=0)
        strangers = [str(each.client) for each in judges if not each.same_classes]
        return [
            gates.held_front(
                held=held,
                final=fingerprint(result.front.state_dict()),
                checked=sum(each.checked for each in judges),
                differing=differing,
            ),
            GateResult("defense_acts", not failed and all(each.findings for each in judges) and bool(judges), acts),
            GateResult(
                "aux_disjoint",
                not shared,
                f"{shared} of {own} auxiliary images are among the clients' own, by content; groups, such as patients, "
                "were not compared",
            ),
            GateResult(
                "same_classes",
                not strangers,
                f"the classes of client {', '.join(strangers)} are not those of the auxiliary images, in their order: "
                "class means are of other classes"
                if strangers
                else "the auxiliary images have the clients' classes, in their order",
            ),
        ]

    def _by_all(self, gate: GateResult, sent: Mapping[int, int]) -> GateResult:
        """The same gate; failed where a client did not judge that was to."""
        missing = [f"client {client}" for client in sorted(sent.keys() - self.judged.keys())]
        if not missing and sent:
            return gate
        return GateResult(gate.name, False, f"not judged by {self._why(missing or ['any client'])}")

    def _why(self, missing: Sequence[str]) -> str:
        """What is missing, and the reasons that were given."""
        reasons = dict.fromkeys(each.reason for each in self.unjudged)
        told = "; ".join(list(reasons)[:MOST_REASONS]) or "nothing was heard of it"
        return f"{', '.join(missing)}: {told}"
