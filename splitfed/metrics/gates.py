"""The gates: what must hold before a number is believed (DESIGN, section 7).

Each gate is a pure function from evidence to a `GateResult`. A cell is valid if and only if all its gates
pass; a cell that is not is marked INVALID wherever it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from splitfed.metrics.predictors import nearest_auxiliary
from splitfed.types import NEAR_DB, FitEvidence, Images


class GateResult(NamedTuple):
    """One gate's verdict. ``detail`` says what was measured, with numbers."""

    name: str
    passed: bool
    detail: str


class Measured(Protocol):
    """What a defense found of itself at the tap (`metrics.findings.Finding`)."""

    @property
    def acts(self) -> bool: ...
    @property
    def detail(self) -> str: ...


def completed(failure: str = "") -> GateResult:
    """The cell was trained to its end. ``failure`` says why it could not be, with its settings."""
    return GateResult("completed", not failure, failure or "all rounds and the audit were run")


def clients_took_part(
    missed_rounds: Mapping[int, Sequence[int]], *, rounds: int, allowed: int, reason: str
) -> GateResult:
    """Every client had its part in the preparation, in all rounds and in the audit.

    A figure that is said to be of all clients and is not means something else.

    Args:
        missed_rounds: by the client's number what it missed: 0 is the preparation, ``rounds`` + 1 the audit.
        rounds: training rounds.
        allowed: how many of these misses, over all clients, the scenario tolerates.
        reason: of the first miss.
    """
    count = sum(map(len, missed_rounds.values()))
    if not count:
        return GateResult("clients_took_part", True, f"all clients in all {rounds} rounds and the audit")
    named = {0: "the preparation", rounds + 1: "the audit"}
    who = "; ".join(
        f"client {client} missed {', '.join(named.get(number, f'round {number}') for number in numbers)}"
        for client, numbers in sorted(missed_rounds.items())
    )
    detail = f"{who}: {count} missed, {allowed} allowed; first reason: {reason}"
    return GateResult("clients_took_part", count <= allowed, detail)


def attack_learned(
    fits: Mapping[str, FitEvidence], refused: Mapping[str, str] | None = None, *, silent: bool = False
) -> GateResult:
    """Every attack did its work, and one of them added something to what it starts from.

    An attack that was never trained makes any defense look strong, and so does a network that adds nothing to the
    closed form beneath it. What an attack starts from is the best closed form beneath a network, the mean of the class
    beneath a closed form. One that adds nothing is named; it is no attack of its own (`added_nothing`).

    Args:
        fits: the evidence by attack name; the `untrained` control does not belong in it. None at all fails.
        refused: attacks whose output could not be scored, and why; one fails.
        silent: whether the activations tell the private images apart no better than guessing does: then there is
            nothing to learn, and attacks that learned nothing did their work.
    """
    failures = [f"{name}: {why}" for name, fit in fits.items() if (why := _why_not_learned(fit, silent=silent))]
    failures += [f"{name} has no score: {why}" for name, why in (refused or {}).items()]
    idle = [name for name, fit in fits.items() if added_nothing(fit)]
    if not fits and not failures:
        failures = ["no attack was mounted"]
    if fits and len(idle) == len(fits) and not silent:
        failures.append("no attack added anything to what it starts from")
    told = "; ".join(_told(name, fit) for name, fit in fits.items())
    if silent:
        told += "; the activations tell private images apart no better than guessing does"
    return GateResult("attack_learned", not failures, "; ".join(failures) or told)


GAIN_DB, GAIN_SSIM = 0.01, 0.001
"""Less than this in both is no gain on what an attack starts from."""


def added_nothing(fit: FitEvidence) -> bool:
    """Whether an attack is no better than what it starts from, on the attacker's own validation images.

    Of an attack that does not say what it starts from, whether its training loss fell.
    """
    if fit.start_psnr_db is None or fit.start_ssim is None:
        return not fit.last_loss < fit.first_loss
    # written so that a NaN is no gain
    gains = fit.validation_psnr_db - fit.start_psnr_db >= GAIN_DB or fit.validation_ssim - fit.start_ssim >= GAIN_SSIM
    return not gains


def _told(name: str, fit: FitEvidence) -> str:
    if added_nothing(fit):
        return f"{name} added nothing{_ended(fit)}"
    if fit.start_psnr_db is None or fit.start_ssim is None:
        return f"{name}: training loss {fit.first_loss:.4g} -> {fit.last_loss:.4g}{_ended(fit)}"
    return (
        f"{name}: {fit.start_psnr_db:.2f} -> {fit.validation_psnr_db:.2f} dB, SSIM "
        f"{fit.start_ssim:.3f} -> {fit.validation_ssim:.3f}{_ended(fit)}"
    )


def _ended(fit: FitEvidence) -> str:
    """Where an attack stopped: an attack at its cap may have had more to give."""
    return "" if fit.plateaued else f", at its cap after {fit.epochs}"


def _why_not_learned(fit: FitEvidence, *, silent: bool) -> str:
    """Empty if the attack did its work."""
    if not (math.isfinite(fit.first_loss) and math.isfinite(fit.last_loss)):
        return f"its training loss is not finite ({fit.first_loss:.4g} -> {fit.last_loss:.4g})"
    if silent:
        return ""
    if not fit.parameters_moved:
        return "its parameters did not move"
    says = fit.start_psnr_db is not None
    if not says and not fit.last_loss < fit.first_loss:
        return f"its training loss did not fall ({fit.first_loss:.4g} -> {fit.last_loss:.4g})"
    return ""


def victim_unchanged(before: str, after: str) -> GateResult:
    """The victim's weights are bit-identical before and after the attack; both are a `fingerprint`."""
    passed = before == after
    detail = f"weights {before}" if passed else f"the attack changed the victim: {before} -> {after}"
    return GateResult("victim_unchanged", passed, detail)


def held_front(*, held: str, final: str, checked: int, differing: Sequence[str]) -> GateResult:
    """The front that was attacked made the observations that were inverted.

    An attack through another front than the victims' is weaker than it could be, and so is one on observations that
    another front made.

    Args:
        held: the fingerprint of the front that the attacker says it held; empty where it says nothing.
        final: that of the trained front.
        checked: how many tapped batches were made once more, from the images through the trained front and the defense.
        differing: those of them that came out otherwise, in words.
    """
    faults = [f"the attacker held {held or 'no front'}, trained was {final}"] if held != final else []
    if differing:
        faults.append(f"{len(differing)} of {checked} tapped batches were made by another front: {differing[0]}")
    if not checked:
        faults.append("no tapped batch could be made once more")
    detail = f"{checked} tapped batches, made once more from their images, are what was tapped; front {held}"
    return GateResult("held_front", not faults, "; ".join(faults) or detail)


def tap_coverage(seen: int, sent: int, *, wanted: float, by: str = "the tap") -> GateResult:
    """What was attacked covers what was sent.

    Args:
        seen: images whose activations under the final front the attacker has.
        sent: images whose activations the server received then.
        wanted: the share that the scenario asks for, in (0, 1].
        by: who looked on, in words.
    """
    detail = f"{by} saw {seen:,} of {sent:,} activations under the final front, {wanted:.0%} wanted"
    return GateResult("tap_coverage", sent > 0 and seen >= wanted * sent, detail)


def sealed_wire(*, read: int, sent: int, ciphertext: int) -> GateResult:
    """What takes the place of `tap_coverage` where the wire was to be under TLS. It never passes.

    No figure of such a cell says what the defense is worth, and none may be read so.

    Args:
        read: images whose activations the tap could read all the same, of all phases.
        sent: images whose activations the server received under the final front.
        ciphertext: connections that the tap found under TLS.
    """
    if ciphertext and not read:
        detail = (
            f"sealed by TLS: the wire attacker saw ciphertext, 0 of {sent:,} activations; no leakage was measured, "
            'which is no merit of the defense; attacker.vantage = "server" has what the server sees'
        )
    else:
        detail = (
            f"the wire was to be sealed by TLS and was not seen to be: the tap read {read:,} activations, "
            f"and found {ciphertext:,} connections in ciphertext"
        )
    return GateResult("tap_coverage", False, detail)


def attack_beats_class_mean(*, attack_psnr_db: float, class_mean_psnr_db: float, margin_db: float) -> GateResult:
    """On the undefended cell the strongest attack sees more than the class, by ``margin_db`` or more.

    An attacker that cannot do that against no defense says nothing about the others.
    """
    excess_db = attack_psnr_db - class_mean_psnr_db
    detail = (
        f"strongest attack {attack_psnr_db:.2f} dB, class mean {class_mean_psnr_db:.2f} dB: "
        f"{excess_db:+.2f} dB, at least {margin_db:+.2f} dB wanted"
    )
    return GateResult("attack_beats_class_mean", excess_db >= margin_db, detail)


def defense_acts(findings: Iterable[Measured]) -> GateResult:
    """The defense does what it says, as measured (see `metrics.findings`). No finding at all fails."""
    findings = list(findings)
    failures = [finding.detail for finding in findings if not finding.acts]
    if not findings:
        failures = ["nothing was measured"]
    detail = "; ".join(failures or [finding.detail for finding in findings])
    return GateResult("defense_acts", not failures, detail)


def aux_disjoint(auxiliary: Images, victims: Images) -> GateResult:
    """No auxiliary image equals a victim's image, or nearly equals it, nor is of a victim's group.

    Images are equal by a hash of the pixels at 8 bits, and nearly equal from a PSNR of `NEAR_DB` on. Groups are
    patients, or whatever else the data set keeps apart; where it knows none, content alone is compared.
    """
    shared = set(auxiliary.content_hashes()) & set(victims.content_hashes())
    near = _near_duplicates(auxiliary, victims)
    detail = f"{len(shared)} of {len(auxiliary)} auxiliary images are among the {len(victims)} victims' images"
    detail += f"; {near} of the victims' images nearly equal an auxiliary one (PSNR of {NEAR_DB:g} dB or more)"
    if near:
        detail += ': data.split = "near_duplicate" keeps such images on one side'
    if auxiliary.groups is None or victims.groups is None:
        return GateResult("aux_disjoint", not shared and not near, detail)
    known = set(victims.groups.tolist())
    both = set(auxiliary.groups.tolist()) & known
    detail += f"; {len(both)} of the victims' {len(known)} groups are among the auxiliary images'"
    return GateResult("aux_disjoint", not shared and not near and not both, detail)


def _near_duplicates(auxiliary: Images, victims: Images) -> int:
    """Victims whose image an auxiliary one nearly equals; a hair above the limit, which is exact for whoever split."""
    if not len(auxiliary) or not len(victims):
        return 0
    nearest = nearest_auxiliary(auxiliary, victims)
    errors = (nearest - victims.pixels).square().flatten(1).mean(dim=1)
    return int((errors < 10 ** (-NEAR_DB / 10) * (1 - ROUNDING)).sum())


ROUNDING = 1e-5
"""Of a squared error between images in float32, relative."""


def finite(results: Mapping[str, Any]) -> GateResult:
    """Every number in these (nested) results is finite."""
    bad = list(_non_finite(results, ""))
    return GateResult("finite", not bad, f"not finite: {', '.join(bad)}" if bad else "all numbers are finite")


def _non_finite(value: object, path: str) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _non_finite(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for position, child in enumerate(value):
            yield from _non_finite(child, f"{path}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield path
