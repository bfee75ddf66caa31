"""Which faults a run meets, drawn from a seed, and what has to come of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from splitfed.bench.faults.kinds import KINDS, At, Kind, Outcome, Party
from splitfed.types import Phase

PER_CLIENT, BATCH = 96, 32
"""Training images of a client, and of a batch; it tests on one batch."""
STEPS = {Phase.TRAIN: PER_CLIENT // BATCH, Phase.TEST: 1, Phase.AUDIT: PER_CLIENT // BATCH}
"""Batches of a client's stream."""
TRIES = 40


@dataclass(frozen=True)
class Fault:
    """One fault and its place.

    Attributes:
        name: of its kind.
        client: whose stream it strikes, or at whose step another is struck.
        round: 1 to rounds; rounds + 1 in the audit.
        phase: of the stream.
        step: the number of its batch; the number of batches for Done; -1 before the stream.
        number: of this fault in its script; what else is random about it is drawn from it.
    """

    name: str
    client: int
    round: int
    phase: Phase
    step: int
    number: int

    @property
    def kind(self) -> Kind:
        """What it is one of."""
        return KINDS[self.name]

    def told(self) -> dict[str, Any]:
        """For people."""
        place = {"client": self.client, "round": self.round, "phase": self.phase.name, "step": self.step}
        return {"fault": self.name, **place}


@dataclass(frozen=True)
class Script:
    """One run.

    Attributes:
        seed, number: what it was drawn from.
        clients, rounds: of the federation.
        direct: whether clients can reach the server without the relay.
        defense: of the clients.
        faults: each strikes once.
    """

    seed: int
    number: int
    clients: int
    rounds: int
    direct: bool
    defense: str
    faults: tuple[Fault, ...]

    def of(self, *targets: Party) -> tuple[Fault, ...]:
        """The faults that strike one of these."""
        return tuple(fault for fault in self.faults if fault.kind.target in targets)

    @property
    def patient(self) -> bool:
        """Whether the deadline of a round is never needed."""
        return not any(fault.kind.freezes for fault in self.faults)


class LeftOut(NamedTuple):
    """A stream that has no part in the result.

    Attributes:
        client, round, phase: which; round 0 is the preparation.
        heard: whether the server heard it to its end, so that it says so of an audit.
    """

    client: int
    round: int
    phase: Phase
    heard: bool = False


class Expected(NamedTuple):
    """What has to come of a script.

    Attributes:
        lost: by (round, client) as they are told, the phase and a pattern of the reason.
        may_be_lost: those of which one of two outcomes has to come, likewise, with the phase.
        errors: patterns of what each attempt but the last ended with, in order; of all where the last one fails too.
        begins: the first round of each attempt that came so far; 0 for one that did not.
        fails: whether there is no result.
        left_out: the streams that have no part in the result.
    """

    lost: dict[tuple[int, int], tuple[Phase, str]]
    may_be_lost: dict[tuple[int, int], Phase]
    errors: tuple[str, ...]
    begins: tuple[int, ...]
    fails: bool
    left_out: frozenset[LeftOut]


def expected(script: Script) -> Expected:
    """Computed from the script alone."""
    lost: dict[tuple[int, int], tuple[Phase, str]] = {}
    may: dict[tuple[int, int], Phase] = {}
    errors, begins = [], [1]
    forgotten = -1  # the rounds up to this one are trained anew, after their faults have struck
    for fault in sorted(script.faults, key=lambda fault: fault.round):
        outcome, place = fault.kind.outcome, (told_round(fault), fault.client)
        if outcome is Outcome.LOST:
            lost[place] = (fault.phase, fault.kind.reason)
        elif outcome is Outcome.MAY_BE_LOST:
            may[place] = fault.phase
        elif outcome in (Outcome.RESUMED, Outcome.FAILED):
            errors.append(fault.kind.reason)
            if fault.name == "server finds half a checkpoint":
                errors.insert(len(errors) - 1, "DeathError")
                begins += [0, 1]
                forgotten = fault.round - 1
            elif outcome is Outcome.RESUMED:
                begins.append(fault.round)
    fails = any(fault.kind.outcome is Outcome.FAILED for fault in script.faults)
    left_out = {
        LeftOut(fault.client, told_round(fault), fault.phase, fault.phase is Phase.AUDIT and _after_done(fault))
        for fault in script.faults
        if fault.kind.outcome is Outcome.LOST and told_round(fault) > forgotten
    }
    return Expected(lost, may, tuple(errors), tuple(begins), fails, frozenset(left_out))


def _after_done(fault: Fault) -> bool:
    """Whether the server has heard that its client was through."""
    return fault.kind.at is At.REPLY or (fault.name.endswith(" after") and fault.step == STEPS[fault.phase])


def told_round(fault: Fault) -> int:
    """The number of the round in which the loss of its client is told: 0 is the preparation."""
    return 0 if fault.kind.defense != "none" else fault.round


def draw(
    seed: int, number: int, names: Sequence[str], *, clients: tuple[int, int] = (2, 4), most_faults: int = 3
) -> Script:
    """The script of this number: the kinds take turns to come first, further faults are drawn, half of them alike.

    Args:
        seed, number: a script is a function of both.
        names: of the kinds.
        clients: the fewest, and the most.
        most_faults: in one script.
    """
    draws = random.Random(f"{seed}-{number}")
    first = names[number % len(names)]
    kind = KINDS[first]
    direct = draws.random() < 0.5 if kind.direct is None else kind.direct
    empty = Script(seed, number, draws.randint(*clients), draws.randint(2, 3), direct, kind.defense, ())
    alike = [name for name in names if KINDS[name].target is kind.target]
    further = draws.choices(draws.choice([names, alike]), k=draws.randrange(most_faults))
    return _filled(empty, [first, *further], draws)


def _filled(script: Script, names: Sequence[str], draws: random.Random) -> Script:
    faults: list[Fault] = []
    for name in names:
        for _ in range(TRIES):
            fault = _placed(name, faults, script, draws)
            if _fits(fault, faults, script):
                faults.append(fault)
                break
    return Script(**{**vars(script), "faults": tuple(faults)})


def _placed(name: str, faults: Sequence[Fault], script: Script, draws: random.Random) -> Fault:
    """A fault of this kind somewhere; every other one in the stream of the first, if it may."""
    kind = KINDS[name]
    near = draws.choice([None, *faults[:1]])
    phase = near.phase if near is not None and near.phase in kind.phases else draws.choice(kind.phases)
    round_number = near.round if near is not None else draws.randint(1, script.rounds)
    round_number = script.rounds + 1 if phase is Phase.AUDIT else min(round_number, script.rounds)
    if kind.defense != "none":
        round_number = 1  # of the preparation
    client = near.client if near is not None else draws.randrange(script.clients)
    last = STEPS[phase] - (kind.at is At.STEP)
    step = draws.randint(0, last) if kind.at in (At.STEP, At.STEP_OR_DONE) else -1
    return Fault(name, client, round_number, phase, step, len(faults))


def _fits(fault: Fault, others: Sequence[Fault], script: Script) -> bool:
    """Whether what comes of all of them together follows from what comes of each."""
    kind = fault.kind
    if kind.defense not in ("none", script.defense) or kind.direct not in (None, script.direct):
        return False
    if fault.name == "server finds half a checkpoint" and fault.round == 1:
        return False
    return all(_beside(fault, other, script) for other in others) and _somebody_is_left(script, [*others, fault])


def _beside(one: Fault, other: Fault, script: Script) -> bool:
    """Whether these two do not touch each other."""
    if one.round == other.round:
        alone = one.kind.alone or other.kind.alone
        return not alone and (one.client != other.client or (not script.direct and _in_turn(one, other)))
    earlier, later = sorted((one, other), key=lambda fault: fault.round)
    if earlier.kind.outcome is Outcome.FAILED:
        return False
    # what strikes in a process that is killed is known by nobody after it
    return not (later.kind.target is Party.SERVER and later.kind.process)


def _in_turn(one: Fault, other: Fault) -> bool:
    """Whether both strike the same network, one after the other, and nothing comes of either."""
    unseen = all(f.kind.target is Party.NETWORK and f.kind.outcome is Outcome.UNSEEN for f in (one, other))
    return unseen and (one.phase, one.step) != (other.phase, other.step)


def _somebody_is_left(script: Script, faults: Sequence[Fault]) -> bool:
    return all(len(set(away)) < script.clients for away in _away(faults))


def _away(faults: Sequence[Fault]) -> Iterator[list[int]]:
    """By round, the clients that it may lose."""
    for number in {told_round(fault) for fault in faults}:
        losing = (fault for fault in faults if fault.kind.outcome in (Outcome.LOST, Outcome.MAY_BE_LOST))
        yield [fault.client for fault in losing if told_round(fault) == number]
