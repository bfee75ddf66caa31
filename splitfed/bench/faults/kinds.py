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


class Party(Enum):
    """Who is struck."""

    CLIENT = "client"
    NETWORK = "network"
    RELAY = "relay"
    SERVER = "server"
    ATTACKER = "attacker"
    LAB = "lab"
    SUPERLINK = "SuperLink"


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

    target: Party
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
    "raises before": Kind(Party.CLIENT, Outcome.LOST, "CrashError"),
    "raises after": Kind(Party.CLIENT, Outcome.LOST, "CrashError"),
    "leaves the interpreter": Kind(Party.CLIENT, Outcome.LOST, "SystemExit"),
    "has no disk": Kind(Party.CLIENT, Outcome.LOST, "No space left on device"),
    "raises with its reply": Kind(Party.CLIENT, Outcome.LOST, "CrashError", At.REPLY),
    "raises in the preparation": Kind(
        Party.CLIENT, Outcome.LOST, "preparation round .*CrashError", At.REPLY, TRAIN, defense="sca"
    ),
    "freezes": Kind(Party.CLIENT, Outcome.LOST, _LATE, freezes=True),
    "freezes with its reply": Kind(Party.CLIENT, Outcome.LOST, _LATE, At.REPLY, freezes=True),
    "is slow": Kind(Party.CLIENT, Outcome.UNSEEN),
    "sends NaN": Kind(Party.CLIENT, Outcome.LOST, "has a NaN or an infinity", At.STEP),
    "sends no frame": Kind(Party.CLIENT, Outcome.LOST, "GARBLED"),
    "sends another step": Kind(Party.CLIENT, Outcome.LOST, "OUT_OF_ORDER", At.STEP),
    "sends no such label": Kind(Party.CLIENT, Outcome.LOST, "BAD_LABELS", At.STEP),
    "is through too early": Kind(Party.CLIENT, Outcome.LOST, "OUT_OF_ORDER", At.STEP),
    "replies with NaN": Kind(Party.CLIENT, Outcome.LOST, "has NaN or infinite numbers", At.REPLY, TRAIN),
    "replies with another front": Kind(Party.CLIENT, Outcome.LOST, "its front lacks", At.REPLY, TRAIN),
    "replies with other counts": Kind(Party.CLIENT, Outcome.LOST, "its stream held", At.REPLY, TRAIN),
    "is killed before": Kind(Party.CLIENT, Outcome.LOST, _GONE, process=True),
    "is killed at its step": Kind(Party.CLIENT, Outcome.LOST, _GONE, At.STEP, process=True),
    "is killed after": Kind(Party.CLIENT, Outcome.LOST, _GONE, process=True),
    "is stopped": Kind(Party.CLIENT, Outcome.LOST, _LATE, freezes=True, process=True),
    "all raise": Kind(Party.CLIENT, Outcome.FAILED, "no client finished: .*CrashError", At.BEGIN, alone=True),
}

NETWORK_KINDS = {
    "cut before": Kind(Party.NETWORK, Outcome.UNSEEN),
    "cut before the answer": Kind(Party.NETWORK, Outcome.UNSEEN),
    "cut at the dial": Kind(Party.NETWORK, Outcome.UNSEEN, at=At.DIAL),
    "silent at the dial": Kind(Party.NETWORK, Outcome.UNSEEN, at=At.DIAL),
    "half closed to the server": Kind(Party.NETWORK, Outcome.UNSEEN),
    "half closed to the client": Kind(Party.NETWORK, Outcome.UNSEEN),
    "stalls": Kind(Party.NETWORK, Outcome.UNSEEN),
    "stalls beyond the deadline": Kind(Party.NETWORK, Outcome.UNSEEN),
    "trickles": Kind(Party.NETWORK, Outcome.UNSEEN),
    "delays": Kind(Party.NETWORK, Outcome.UNSEEN),
    "refuses for a while": Kind(Party.NETWORK, Outcome.UNSEEN),
    "is parted": Kind(Party.NETWORK, Outcome.LOST, "LinkLost: .*no answer after", direct=False),
    "flips a bit of an activation": Kind(Party.NETWORK, Outcome.UNSEEN, at=At.STEP),
    "flips a bit of a gradient": Kind(Party.NETWORK, Outcome.UNSEEN, at=At.STEP, phases=TRAIN),
    "drops a byte": Kind(Party.NETWORK, Outcome.UNSEEN, at=At.STEP),
    "repeats a byte": Kind(Party.NETWORK, Outcome.UNSEEN, at=At.STEP),
    "flips any bit": Kind(Party.NETWORK, Outcome.MAY_BE_LOST, "", At.DIAL),
    "all are parted": Kind(
        Party.NETWORK,
        Outcome.RESUMED,
        "SplitfedError: .*no client finished: .*--resume",
        At.BEGIN,
        alone=True,
        direct=False,
    ),
}

RELAY_KINDS = {
    "is killed": Kind(Party.RELAY, Outcome.UNSEEN, alone=True, direct=True),
    "is frozen": Kind(Party.RELAY, Outcome.UNSEEN, alone=True, direct=True),
    "starves": Kind(Party.RELAY, Outcome.UNSEEN, alone=True, direct=True),
}

SERVER_KINDS = {
    "is slow": Kind(Party.SERVER, Outcome.UNSEEN, at=At.STEP),
    "fails at a step": Kind(Party.SERVER, Outcome.LOST, "INTERNAL", At.STEP),
    "fails in an update": Kind(Party.SERVER, Outcome.LOST, "INTERNAL", At.STEP, TRAIN),
    "dies at a step": Kind(Party.SERVER, Outcome.RESUMED, "DeathError", At.STEP, alone=True),
    "dies between rounds": Kind(Party.SERVER, Outcome.RESUMED, "DeathError", At.BEGIN, alone=True),
    "dies before a round is kept": Kind(Party.SERVER, Outcome.RESUMED, "DeathError", At.BEGIN, TRAIN, alone=True),
    "cannot keep a round": Kind(
        Party.SERVER, Outcome.RESUMED, "UserError: cannot write .*Is a directory", At.BEGIN, TRAIN, alone=True
    ),
    "finds half a checkpoint": Kind(Party.SERVER, Outcome.RESUMED, "UserError: .*is damaged", At.BEGIN, alone=True),
    "is killed": Kind(Party.SERVER, Outcome.RESUMED, "ended with -9", At.STEP, alone=True, process=True),
    "is killed between rounds": Kind(
        Party.SERVER, Outcome.RESUMED, "ended with -9", At.BEGIN, alone=True, process=True
    ),
    "has no disk": Kind(
        Party.SERVER,
        Outcome.RESUMED,
        "UserError: cannot write .*File too large",
        At.BEGIN,
        TRAIN,
        alone=True,
        process=True,
    ),
}

ATTACKER_KINDS = {
    "is killed": Kind(Party.ATTACKER, Outcome.UNSEEN, "attack_learned", At.STEP, TRAIN),
    "is frozen": Kind(Party.ATTACKER, Outcome.UNSEEN, "attack_learned", At.STEP, TRAIN),
    "starves": Kind(Party.ATTACKER, Outcome.UNSEEN, "", At.STEP, TRAIN),
    "is killed at the end": Kind(Party.ATTACKER, Outcome.UNSEEN, "attack_learned", At.BEGIN),
    "writes garbage": Kind(Party.ATTACKER, Outcome.UNSEEN, "attack_learned", At.BEGIN),
}
"""The reason is the gate that fails."""

LAB_KINDS = {"is killed": Kind(Party.LAB, Outcome.RESUMED, "ended with -9", At.BEGIN, TRAIN)}

SUPERLINK_KINDS = {
    "is killed": Kind(Party.SUPERLINK, Outcome.UNSEEN, at=At.STEP, phases=TRAIN),
    "is killed between rounds": Kind(Party.SUPERLINK, Outcome.UNSEEN, at=At.BEGIN, phases=TRAIN),
}
"""It is started again on its database."""

_OF_TARGETS = {
    Party.CLIENT: CLIENT_KINDS,
    Party.NETWORK: NETWORK_KINDS,
    Party.RELAY: RELAY_KINDS,
    Party.SERVER: SERVER_KINDS,
    Party.ATTACKER: ATTACKER_KINDS,
    Party.LAB: LAB_KINDS,
    Party.SUPERLINK: SUPERLINK_KINDS,
}
KINDS = {f"{target.value} {name}": kind for target, kinds in _OF_TARGETS.items() for name, kind in kinds.items()}
"""All kinds by name: who, and what."""
