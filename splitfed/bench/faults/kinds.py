"""What can go wrong, and what has to come of it.

A kind is an entry of `KINDS`. Whoever adds one says what it strikes and how that has to end, and strikes where the
target is at work: a client's kinds in `clients`, those of the network in `network`, and so on. A further target brings
kinds of its own, and a stage that plays scripts of them (`stages.STAGES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from splitfed.types import Phase

EVERY = tuple(Phase)
TRAIN = (Phase.TRAIN,)


class Target(Enum):
    """Who is struck."""

    CLIENT = "client"
    NETWORK = "network"
    RELAY = "relay"
    SERVER = "server"
    ATTACKER = "attacker"
    LAB = "lab"


class Outcome(Enum):
    """What has to come of a fault."""

    UNSEEN = "unseen"
    """Nothing: the result is that of a run without it, to the bit."""
    LOST = "lost"
    """Its client has no part in that phase of the round, as if it had never begun it; nobody else notices."""
    MAY_BE_LOST = "unseen or lost"
    """One of these two, by which of its bytes was damaged."""
    RESUMED = "resumed"
    """The run ends, and goes on from the last finished round to the same result."""
    FAILED = "failed"
    """The cell cannot be trained, and never will be."""


class At(Enum):
    """Where in a stream a kind may strike."""

    STEP = "a step"
    STEP_OR_DONE = "a step, or Done"
    DIAL = "the first bytes of a stream"
    REPLY = "the reply to the server"
    BEGIN = "the beginning of the round"


@dataclass(frozen=True)
class Kind:
    """One thing that can go wrong.

    Attributes:
        target: who is struck.
        outcome: what has to come of it.
        reason: what is told of a client that is lost, or of the end of a run; a pattern.
        at: where in a stream.
        phases: in which phases.
        alone: no other fault may strike in the same round.
        direct: whether clients can reach the server without what is struck; None where it makes no difference.
        freezes: its client says nothing more in this phase.
        process: its client is a process of its own.
        defense: what clients do to their activations.
    """

    target: Target
    outcome: Outcome
    reason: str = ""
    at: At = At.STEP_OR_DONE
    phases: tuple[Phase, ...] = EVERY
    alone: bool = False
    direct: bool | None = None
    freezes: bool = False
    process: bool = False
    defense: str = "none"


_LATE = r"no answer within .* \(federation\.round_deadline_s\)"
_GONE = "the process of client .* has ended"

CLIENT_KINDS = {
    "raises before": Kind(Target.CLIENT, Outcome.LOST, "CrashError"),
    "raises after": Kind(Target.CLIENT, Outcome.LOST, "CrashError"),
    "leaves the interpreter": Kind(Target.CLIENT, Outcome.LOST, "SystemExit"),
    "has no disk": Kind(Target.CLIENT, Outcome.LOST, "No space left on device"),
    "raises with its reply": Kind(Target.CLIENT, Outcome.LOST, "CrashError", At.REPLY),
    "raises in the preparation": Kind(
        Target.CLIENT, Outcome.LOST, "preparation round .*CrashError", At.REPLY, TRAIN, defense="sca"
    ),
    "freezes": Kind(Target.CLIENT, Outcome.LOST, _LATE, freezes=True),
    "freezes with its reply": Kind(Target.CLIENT, Outcome.LOST, _LATE, At.REPLY, freezes=True),
    "is slow": Kind(Target.CLIENT, Outcome.UNSEEN),
    "sends NaN": Kind(Target.CLIENT, Outcome.LOST, "has a NaN or an infinity", At.STEP),
    "sends no frame": Kind(Target.CLIENT, Outcome.LOST, "GARBLED"),
    "sends another step": Kind(Target.CLIENT, Outcome.LOST, "OUT_OF_ORDER", At.STEP),
    "sends no such label": Kind(Target.CLIENT, Outcome.LOST, "BAD_LABELS", At.STEP),
    "is through too early": Kind(Target.CLIENT, Outcome.LOST, "OUT_OF_ORDER", At.STEP),
    "replies with NaN": Kind(Target.CLIENT, Outcome.LOST, "has NaN or infinite numbers", At.REPLY, TRAIN),
    "replies with another front": Kind(Target.CLIENT, Outcome.LOST, "its front lacks", At.REPLY, TRAIN),
    "replies with other counts": Kind(Target.CLIENT, Outcome.LOST, "its stream held", At.REPLY, TRAIN),
    "is killed before": Kind(Target.CLIENT, Outcome.LOST, _GONE, process=True),
    "is killed at its step": Kind(Target.CLIENT, Outcome.LOST, _GONE, At.STEP, process=True),
    "is killed after": Kind(Target.CLIENT, Outcome.LOST, _GONE, process=True),
    "is stopped": Kind(Target.CLIENT, Outcome.LOST, _LATE, freezes=True, process=True),
    "all raise": Kind(Target.CLIENT, Outcome.FAILED, "no client finished: .*CrashError", At.BEGIN, alone=True),
}

NETWORK_KINDS = {
    "cut before": Kind(Target.NETWORK, Outcome.UNSEEN),
    "cut before the answer": Kind(Target.NETWORK, Outcome.UNSEEN),
    "cut at the dial": Kind(Target.NETWORK, Outcome.UNSEEN, at=At.DIAL),
    "silent at the dial": Kind(Target.NETWORK, Outcome.UNSEEN, at=At.DIAL),
    "half closed to the server": Kind(Target.NETWORK, Outcome.UNSEEN),
    "half closed to the client": Kind(Target.NETWORK, Outcome.UNSEEN),
    "stalls": Kind(Target.NETWORK, Outcome.UNSEEN),
    "stalls beyond the deadline": Kind(Target.NETWORK, Outcome.UNSEEN),
    "trickles": Kind(Target.NETWORK, Outcome.UNSEEN),
    "delays": Kind(Target.NETWORK, Outcome.UNSEEN),
    "refuses for a while": Kind(Target.NETWORK, Outcome.UNSEEN),
    "is parted": Kind(Target.NETWORK, Outcome.LOST, "LinkLost: .*no answer after", direct=False),
    "flips a bit of an activation": Kind(Target.NETWORK, Outcome.UNSEEN, at=At.STEP),
    "flips a bit of a gradient": Kind(Target.NETWORK, Outcome.UNSEEN, at=At.STEP, phases=TRAIN),
    "drops a byte": Kind(Target.NETWORK, Outcome.UNSEEN, at=At.STEP),
    "repeats a byte": Kind(Target.NETWORK, Outcome.UNSEEN, at=At.STEP),
    "flips any bit": Kind(Target.NETWORK, Outcome.MAY_BE_LOST, "", At.DIAL),
    "all are parted": Kind(
        Target.NETWORK,
        Outcome.RESUMED,
        "SplitfedError: .*no client finished: .*--resume",
        At.BEGIN,
        alone=True,
        direct=False,
    ),
}

RELAY_KINDS = {
    "is killed": Kind(Target.RELAY, Outcome.UNSEEN, alone=True, direct=True),
    "is frozen": Kind(Target.RELAY, Outcome.UNSEEN, alone=True, direct=True),
    "starves": Kind(Target.RELAY, Outcome.UNSEEN, alone=True, direct=True),
}

SERVER_KINDS = {
    "is slow": Kind(Target.SERVER, Outcome.UNSEEN, at=At.STEP),
    "fails at a step": Kind(Target.SERVER, Outcome.LOST, "INTERNAL", At.STEP),
    "fails in an update": Kind(Target.SERVER, Outcome.LOST, "INTERNAL", At.STEP, TRAIN),
    "dies at a step": Kind(Target.SERVER, Outcome.RESUMED, "DeathError", At.STEP, alone=True),
    "dies between rounds": Kind(Target.SERVER, Outcome.RESUMED, "DeathError", At.BEGIN, alone=True),
    "dies before a round is kept": Kind(Target.SERVER, Outcome.RESUMED, "DeathError", At.BEGIN, TRAIN, alone=True),
    "cannot keep a round": Kind(
        Target.SERVER, Outcome.RESUMED, "UserError: cannot write .*Is a directory", At.BEGIN, TRAIN, alone=True
    ),
    "finds half a checkpoint": Kind(Target.SERVER, Outcome.RESUMED, "UserError: .*is damaged", At.BEGIN, alone=True),
    "is killed": Kind(Target.SERVER, Outcome.RESUMED, "ended with -9", At.STEP, alone=True, process=True),
    "is killed between rounds": Kind(
        Target.SERVER, Outcome.RESUMED, "ended with -9", At.BEGIN, alone=True, process=True
    ),
    "has no disk": Kind(
        Target.SERVER,
        Outcome.RESUMED,
        "UserError: cannot write .*File too large",
        At.BEGIN,
        TRAIN,
        alone=True,
        process=True,
    ),
}

ATTACKER_KINDS = {
    "is killed": Kind(Target.ATTACKER, Outcome.UNSEEN, "attack_learned", At.STEP, TRAIN),
    "is frozen": Kind(Target.ATTACKER, Outcome.UNSEEN, "attack_learned", At.STEP, TRAIN),
    "starves": Kind(Target.ATTACKER, Outcome.UNSEEN, "", At.STEP, TRAIN),
    "is killed at the end": Kind(Target.ATTACKER, Outcome.UNSEEN, "attack_learned", At.BEGIN),
    "writes garbage": Kind(Target.ATTACKER, Outcome.UNSEEN, "attack_learned", At.BEGIN),
}
"""The reason is the gate that fails."""

LAB_KINDS = {"is killed": Kind(Target.LAB, Outcome.RESUMED, "ended with -9", At.BEGIN, TRAIN)}

_OF_TARGETS = {
    Target.CLIENT: CLIENT_KINDS,
    Target.NETWORK: NETWORK_KINDS,
    Target.RELAY: RELAY_KINDS,
    Target.SERVER: SERVER_KINDS,
    Target.ATTACKER: ATTACKER_KINDS,
    Target.LAB: LAB_KINDS,
}
KINDS = {f"{target.value} {name}": kind for target, kinds in _OF_TARGETS.items() for name, kind in kinds.items()}
"""All kinds by name: who, and what."""
