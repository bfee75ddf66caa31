"""From what a cell left behind to its result: scores, controls, gates."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from splitfed.attacker.protocol import Attacked, Done
from splitfed.config.scenario import Cell
from splitfed.config.tables import FederationOptions
from splitfed.defenses import Defense
from splitfed.defenses.base import Figures, TapEvidence
from splitfed.experiment.attack_outcome import AttackOutcome
from splitfed.experiment.identification import Identification
from splitfed.federation.outcome import FederationResult
from splitfed.metrics import gates
from splitfed.metrics.fid import FrechetMetric
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.gates import GateResult
from splitfed.metrics.predictors import class_mean, mean_image, nearest_auxiliary
from splitfed.metrics.quality import psnr_db
from splitfed.metrics.score import predictor_score, score
from splitfed.records.linked import LinkedOracle
from splitfed.records.results import AttackScore, BaselineScore, CellResult, all_passed
from splitfed.types import FitEvidence, Images, Reconstruction

TIE = 1e-5
"""SSIM of attacks that differ by less is the same: float32 images of one reconstruction, in other batches, do so."""


def baseline_scores(auxiliary: Images, victims: Images) -> dict[str, BaselineScore]:
    """What predictors without any activation score on the victims."""
    predictors = (mean_image, class_mean, nearest_auxiliary)
    return {each.__name__: BaselineScore(**predictor_score(each(auxiliary, victims), victims)) for each in predictors}


def attack_score(
    outcome: AttackOutcome,
    auxiliary: Images,
    seed: int,
    sent: int,
    frechet_metrics: Sequence[FrechetMetric] = (),
    identified: Identification | None = None,
) -> AttackScore:
    """What one attack reached: over ``n`` of the ``sent`` images whose activations traveled under the final front; of
    an attack on a training round, of those that traveled in it."""
    guess = class_mean(auxiliary, outcome.truth)
    found = score(
        outcome.reconstruction.images,
        outcome.truth,
        class_mean_psnr_db=psnr_db(guess, outcome.truth.pixels),
        seed=seed,
        reid=identified.by_pixels(outcome.of_audited) if identified is not None else None,
    )
    sent = sent if outcome.sent is None else outcome.sent
    found |= {"sent": sent, "phase": outcome.report.phase, **said_of_training(outcome.report)}
    return AttackScore(
        **{**found, **feature_scores(outcome, frechet_metrics)}, pool_mse=_pool_mse(outcome.reconstruction, identified)
    )


def said_of_training(report: Attacked) -> dict[str, bool]:
    """What a score says of how the attack learned, by the names of its fields; of a control nothing."""
    fit = None if report.is_control else report.fit
    return {
        "added_nothing": fit is not None and gates.added_nothing(fit),
        "at_cap": fit is not None and not fit.plateaued,
    }


def _pool_mse(reconstruction: Reconstruction, identified: Identification | None) -> float | None:
    """The mean squared error over the observations of the pool; None where it is of none: of training, say."""
    if identified is None:
        return None
    _, errors = identified.squared_errors(reconstruction)
    return float(errors.mean()) if len(errors) else None


def feature_scores(outcome: AttackOutcome, metrics: Sequence[FrechetMetric]) -> dict[str, float | None]:
    """By name, the distances between the sets of reconstructions and originals, None for too few images; and the mean
    distance between an image and its own original."""
    found: dict[str, float | None] = {}
    for metric in metrics:
        scores = metric(outcome.reconstruction.images, outcome.truth.pixels)
        found[metric.name] = scores.distance
        if metric.by_image is not None:
            found[metric.by_image] = float(scores.by_image.mean())
    return found


def strongest(outcomes: Sequence[AttackOutcome]) -> str | None:
    """The attack with the highest SSIM on the attacker's own validation images; never chosen on the victims.

    Of several that are as good up to `TIE`, the one that was mounted first: one that goes on from another and adds
    nothing to it is not the stronger for its rounding, and may be scored on fewer images.
    """
    return strongest_of([outcome.report for outcome in outcomes])


def strongest_of(reports: Sequence[Attacked]) -> str | None:
    """The same by what the attacks say of themselves.

    One that adds nothing to what it starts from is no attack of its own, unless all do not.
    """
    known = {name: fit for name, fit in fits(reports).items() if math.isfinite(fit.validation_ssim)}
    own = {name: fit for name, fit in known.items() if not gates.added_nothing(fit)}
    scores = {name: fit.validation_ssim for name, fit in (own or known).items()}
    best = max(scores.values(), default=math.nan)
    return next((name for name, of_name in scores.items() if of_name >= best - TIE), None)


def fits(reports: Sequence[Attacked]) -> dict[str, FitEvidence]:
    """How each attack learned, by name; controls do not."""
    return {report.attack: report.fit for report in reports if not report.is_control and report.fit}


def victim_fingerprint(result: FederationResult) -> str:
    """Front and back of a trained victim."""
    return f"{fingerprint(result.front.state_dict())}+{fingerprint(result.back.state_dict())}"


def after_attack(result: FederationResult, done: Done | None) -> str:
    """The victim after the attack: the attacker's own copy of the front, and the server's back.

    A copy that the attacker moved, or one that never was the victim's, differs from `victim_fingerprint`.
    """
    if done is None:
        return "unknown: the attacker did not finish"
    now = victim_fingerprint(result)
    front, back = now.split("+")
    held = {done.front_before, done.front_after} - {front}
    by = f" (by {', '.join(done.moved_by)})" if done.moved_by else ""
    return f"{held.pop()}+{back}{by}" if held else now


def cell_gates(
    *,
    outcomes: Sequence[AttackOutcome],
    refused: Mapping[str, str],
    before: str,
    after: str,
    coverage: GateResult,
    front: GateResult,
    defense: Defense,
    evidence: TapEvidence | None,
    auxiliary: Images,
    victims: Images,
    result: FederationResult,
    options: FederationOptions,
    sealed: bool = False,
    identified: Identification | None = None,
) -> list[GateResult]:
    """All gates of a cell but the reference gate and `finite`, which need the scores.

    ``refused`` has by name the attacks whose reconstructions could not be scored, and why. Of a ``sealed`` cell,
    ``coverage`` says that there was nothing to observe; what is asked of observations is then asked of none.
    """
    silent = identified is not None and identified.silent
    reconstructions = {o.report.attack: o.reconstruction for o in outcomes}
    ideal = identified.below_ideal(reconstructions) if identified is not None else None
    return [
        gates.completed(),
        gates.clients_took_part(
            result.missed_rounds,
            rounds=options.rounds,
            allowed=options.missed_rounds_allowed,
            reason=result.missed_because,
        ),
        *([] if sealed else [gates.attack_learned(fits([o.report for o in outcomes]), refused, silent=silent)]),
        gates.victim_unchanged(before, after),
        coverage,
        *([] if sealed else [front, gates.defense_acts(defense.findings(evidence) if evidence is not None else [])]),
        gates.aux_disjoint(auxiliary, victims),
        *([ideal] if ideal is not None else []),
    ]


def cell_result(
    *,
    cell: Cell,
    result: FederationResult,
    majority_rate: float,
    activation_bytes_per_image: float | None,
    outcomes: Sequence[AttackOutcome],
    auxiliary: Images,
    frechet_metrics: Sequence[FrechetMetric],
    gate_results: Sequence[GateResult],
    figures: Figures,
    attack_s: float,
    sealed: bool = False,
    identified: Identification | None = None,
    linked: LinkedOracle | None = None,
) -> CellResult:
    """A trained cell with its verdict: what the attacks reached, and these gates with `finite` beside them."""
    sent = sum(result.audited.values())
    best = strongest(outcomes)
    scores = {
        o.report.attack: attack_score(
            o, auxiliary, cell.seed, sent, frechet_metrics if o.report.attack == best else (), identified
        )
        for o in outcomes
        if len(o.reconstruction)
    }
    return scored_cell(
        cell=cell,
        result=result,
        majority_rate=majority_rate,
        activation_bytes_per_image=activation_bytes_per_image,
        scores=scores,
        controls={o.report.attack for o in outcomes if o.report.is_control},
        strongest=best,
        gate_results=gate_results,
        figures=figures,
        attack_s=attack_s,
        sealed=sealed,
        identified=identified,
        linked=linked,
    )


def scored_cell(
    *,
    cell: Cell,
    result: FederationResult,
    majority_rate: float,
    activation_bytes_per_image: float | None,
    scores: Mapping[str, AttackScore],
    controls: Collection[str],
    strongest: str | None,
    gate_results: Sequence[GateResult],
    figures: Figures,
    attack_s: float,
    sealed: bool = False,
    identified: Identification | None = None,
    linked: LinkedOracle | None = None,
) -> CellResult:
    """A trained cell whose attacks and controls have scores, by name."""
    attacks = {name: value for name, value in scores.items() if name not in controls}
    found = CellResult(
        cell=cell.name,
        defense=cell.defense.name,
        params=cell.defense.options,
        seed=cell.seed,
        accuracy=result.accuracy,
        train_accuracy=result.train_accuracy,
        majority_rate=majority_rate,
        activation_bytes_per_image=activation_bytes_per_image,
        wire_bytes_per_image=result.wire_bytes_per_image,
        figures=dict(figures),
        missed_rounds={str(client): tuple(numbers) for client, numbers in sorted(result.missed_rounds.items())},
        train_s=result.train_s,
        attack_s=attack_s,
        attacks=attacks,
        controls={name: value for name, value in scores.items() if name in controls},
        strongest=strongest,
        sealed=sealed,
        **(identified.headline(attacks) if identified is not None else {}),
        linked_oracle=linked,
        gates={},
        gate_details={},
        valid=False,
    )
    return judged(found, [*gate_results, gates.finite(found.model_dump())])


def failed_cell(*, cell: Cell, majority_rate: float, reason: str) -> CellResult:
    """A cell that cannot be trained with its settings: no scores, and the reason in words."""
    found = CellResult(
        cell=cell.name,
        defense=cell.defense.name,
        params=cell.defense.options,
        seed=cell.seed,
        accuracy=None,
        train_accuracy=None,
        majority_rate=majority_rate,
        activation_bytes_per_image=None,
        wire_bytes_per_image=None,
        figures={},
        missed_rounds={},
        train_s=None,
        attack_s=None,
        attacks={},
        controls={},
        strongest=None,
        gates={},
        gate_details={},
        valid=False,
    )
    return judged(found, [gates.completed(reason)])


def judged(cell: CellResult, gate_results: Sequence[GateResult]) -> CellResult:
    """The same cell with these gates beside those that it already has, and the verdict over all of them."""
    passed = cell.gates | {gate.name: gate.passed for gate in gate_results}
    details = cell.gate_details | {gate.name: gate.detail for gate in gate_results}
    return cell.model_copy(update={"gates": passed, "gate_details": details, "valid": all_passed(passed)})
