"""Who answered the server, who did not, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from flwr.app import Message
from flwr.serverapp import Grid

from splitfed.errors import SplitfedError, TrainingFailed

CLIENT_RAISED = 2
"""Flower's own code for "the ClientApp raised an exception"."""
CLIENT_HINDERED = 1001
"""Ours, beyond Flower's: a client failed for want of a connection, a file or memory; another try may go well."""

REASONS_SHOWN, REASON_HEAD, REASON_TAIL = 3, 240, 160
"""Distinct reasons in one message, and the characters kept of a long one: the cure stands at its end."""


class Loss(NamedTuple):
    """Why one client has no part in what it was asked for."""

    reason: str
    passing: bool
    """Whether it may go well the next time: no answer, a lost connection; not what the settings bring about."""


@dataclass
class Attendance:
    """The answers to one question to all clients.

    Attributes:
        replies: those without an error by the number of the client, in their order. Whose a reply is says the node
            that it came from, never its content.
        lost: the other clients, by number.
    """

    replies: dict[int, Message]
    lost: dict[int, Loss] = field(default_factory=dict)


def ask(grid: Grid, messages: Iterable[Message], deadline_s: float, client_of: Callable[[int], int]) -> Attendance:
    """Send these messages, one per client, and wait for the replies until the deadline.

    Args:
        grid: who carries them.
        messages: to the nodes of clients.
        deadline_s: seconds after which a client is silent.
        client_of: the number of the client behind a node.
    """
    asked = list(messages)
    answers = [(client_of(m.metadata.src_node_id), m) for m in grid.send_and_receive(asked, timeout=deadline_s)]
    answered = dict(sorted(answers, key=lambda answer: answer[0]))
    replies = {client: reply for client, reply in answered.items() if not reply.has_error()}
    lost = {client: _loss(reply) for client, reply in answered.items() if reply.has_error()}
    silent = {client_of(m.metadata.dst_node_id) for m in asked} - answered.keys()
    late = Loss(f"no answer within {deadline_s:g} s (federation.round_deadline_s)", passing=True)
    return Attendance(replies, lost | dict.fromkeys(sorted(silent), late))


def nobody(what: str, lost: Mapping[int, Loss]) -> SplitfedError:
    """What to raise when `what` ended without any client.

    `TrainingFailed` where each of them answered that it cannot; else an error that another try may not meet.
    """
    told = f"{what}: no client finished: {distinct(loss.reason for loss in lost.values())}"
    if any(loss.passing for loss in lost.values()):
        return SplitfedError(f"{told}. Finished rounds are kept: go on with --resume")
    return TrainingFailed(told)


def distinct(reasons: Iterable[str]) -> str:
    """Each reason once, with how many clients gave it, the most frequent first; long ones shortened.

    >>> distinct(["client-0: no disk", "client-1: no disk", "client-2: no memory"])
    '2 × client-*: no disk; client-*: no memory'
    """
    counts = Counter(_shortened(re.sub(r"client-\d+", "client-*", reason)) for reason in reasons)
    listed = [f"{count} × {reason}" if count > 1 else reason for reason, count in counts.most_common(REASONS_SHOWN)]
    more = len(counts) - len(listed)
    return "; ".join([*listed, *([f"and {more} other reasons"] if more else [])])


def _shortened(reason: str) -> str:
    plain = reason.removeprefix("splitfed.errors.")
    if len(plain) <= REASON_HEAD + REASON_TAIL:
        return plain
    return f"{plain[:REASON_HEAD]} … {plain[-REASON_TAIL:]}"


def _loss(reply: Message) -> Loss:
    return Loss(str(reply.error.reason), passing=reply.error.code != CLIENT_RAISED)
