"""What attackers say: conversations that begin as good ones and are then altered, each a pure function of its seed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from splitfed.bench.fuzz.host import ATTACKERS, CLASSES, FEATURES, ROUND, RUN, SECRET, WIDTH
from splitfed.bench.fuzz.messages import drawn, message_class, mutated
from splitfed.bench.fuzz.strange import announced, strange_backward, strange_forward
from splitfed.types import Phase
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import backward_frame, done_frame, forward_frame, hello_frame, sealed
from splitfed.wire.proof import Claim, Metadata, Numbers, client_token, prove
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from random import Random

MAX_MESSAGE_BYTES = 50_000
"""What the servers under fire take at most, so that what is too large is soon sent."""

CLIENT_FRAME: Any = message_class("ClientFrame")
SERVER_FRAME: Any = message_class("ServerFrame")

_CHECKSUMMED = 0.9
_KEEP_LABELS = 0.5
_ODD_HALVES = 0.5  # few streams have halves, and few of those come as far as the second one of a step

_numbers = Numbers()


class Dialed(NamedTuple):
    """One stream: who it is, what it says, and in how large portions it is read ahead.

    Attributes:
        client: whose token proves it.
        stream: its name.
        frames: what it says, one after the other.
        ahead: how many frames are sent before an answer is waited for.
    """

    client: int
    stream: bytes
    frames: list[bytes]
    ahead: int


def fresh_proof(client: int, stream: bytes, run: str = RUN) -> Metadata:
    """A good proof, newer than all before."""
    return prove(Claim(run, client, stream, _numbers.next()), client_token(SECRET, client))


def good_dial(rng: Random, number: int) -> Dialed:
    """A stream that any server takes to its end."""
    client, stream = rng.choice(ATTACKERS), b"%d" % number
    codec, phase = rng.choice(list(CODECS)), rng.choice((*Phase, Phase.TRAIN))
    batches = [rng.randint(1, 3) for _ in range(rng.choice((0, 1, 1, 2, 3, 4)))]
    keeps_labels = rng.random() < _KEEP_LABELS
    frames = [hello_frame(Hello(RUN, ROUND, client, phase, (WIDTH,), codec, keeps_labels=keeps_labels), stream)]
    for step, batch in enumerate(batches):
        frames.append(good_forward(step, batch, codec, labels=not keeps_labels))
        frames += [good_backward(step, batch, codec)] if keeps_labels and phase is Phase.TRAIN else []
    frames.append(done_frame(len(batches), sum(batches)))
    return Dialed(client, stream, frames, rng.choice((1, 1, 2, 99)))


@cache
def good_forward(step: int, batch: int, codec: str, *, labels: bool = True) -> bytes:
    """A batch that differs from step to step; any codec keeps its numbers."""
    tensor = torch.arange(batch * WIDTH, dtype=torch.float32).remainder(5).view(batch, WIDTH) + step
    classes = torch.arange(batch).remainder(CLASSES) if labels else None
    return forward_frame(step, CODECS[codec].encode(tensor), classes)


@cache
def good_backward(step: int, batch: int, codec: str) -> bytes:
    """A gradient by the features of such a batch."""
    gradient = torch.arange(batch * FEATURES, dtype=torch.float32).remainder(3).view(batch, FEATURES) - step
    return backward_frame(step, CODECS[codec].encode(gradient))


def spoilt_dial(rng: Random, number: int) -> Dialed:
    """A stream with one to three things wrong with it."""
    dialed = good_dial(rng, number)
    frames = list(dialed.frames)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _spoil(frames, rng)
    return dialed._replace(frames=frames)


def spoilt_dials(rng: Random, number: int) -> list[Dialed]:
    """A spoilt stream, or one that breaks off and is dialed again, with something wrong in either part."""
    if rng.random() < 0.8:
        return [spoilt_dial(rng, number)]
    whole = good_dial(rng, number)
    cut = rng.randrange(len(whole.frames))
    answered = max(0, cut - 1 - rng.choice((0, 0, 0, 1, 2)))  # questions after the Hello
    step = announced(whole.frames).step_at(1 + answered)
    first = list(whole.frames[:cut])
    again = [_going_on_at(whole.frames[0], step), *whole.frames[1 + answered :]]
    for frames in rng.choice(((first,), (again,), (first, again))):
        _spoil(frames, rng)
    return [whole._replace(frames=first), whole._replace(frames=again)]


def _going_on_at(opening: bytes, step: int) -> bytes:
    frame = CLIENT_FRAME.FromString(opening)
    frame.hello.next_step = step
    return sealed(frame.SerializeToString())


def checksummed(raw: bytes, rng: Random) -> bytes:
    """With the right checksum as a rule, or nothing deeper than that would ever be reached."""
    return sealed(raw) if rng.random() < _CHECKSUMMED else raw


def _spoil(frames: list[bytes], rng: Random) -> None:
    at = rng.randrange(len(frames)) if frames else 0
    way = rng.random()
    if announced(frames).in_halves and rng.random() < _ODD_HALVES:
        _add_strange(frames, at, rng)
    elif way < 0.5 and frames:
        frames[at] = checksummed(mutated(frames[at], CLIENT_FRAME, rng), rng)
    elif way < 0.6:
        frames.insert(at, checksummed(drawn(CLIENT_FRAME, rng).SerializeToString(), rng))
    elif way < 0.75:
        _add_strange(frames, at, rng)
    elif way < 0.8:
        frames.insert(at, rng.choice(frames or [b""]))
    elif way < 0.85:
        del frames[at : at + rng.choice((1, 1, 9))]
    elif way < 0.9:
        rng.shuffle(frames)
    elif way < 0.95:
        frames.append(rng.choice([*frames[at : at + 1], done_frame(rng.randrange(4), 1)]))
    else:
        frames.insert(at, checksummed(rng.randbytes(rng.choice((0, 1, 50, MAX_MESSAGE_BYTES + 1, 70_000))), rng))


def _add_strange(frames: list[bytes], at: int, rng: Random) -> None:
    in_halves = announced(frames).in_halves
    if rng.random() < (0.6 if in_halves else 0.1):
        at += in_halves and at % 2 == 1 and rng.random() < 0.8  # behind a Forward, as a rule
        frames.insert(at, strange_backward(rng, frames, at))
    else:
        frames.insert(at, strange_forward(rng, frames, at))
