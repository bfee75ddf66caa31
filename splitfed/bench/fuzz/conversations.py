"""What attackers say: conversations that begin as good ones and are then altered, each a pure function of its seed."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from google.protobuf.message import DecodeError

from splitfed.bench.fuzz.host import ATTACKERS, CLASSES, ROUND, RUN, SECRET, WIDTH
from splitfed.bench.fuzz.messages import drawn, message_class, mutated
from splitfed.types import Phase
from splitfed.wire.codec import CODECS, Encoded, TensorSpec
from splitfed.wire.frames import done_frame, forward_frame, hello_frame
from splitfed.wire.proof import Claim, Metadata, Numbers, client_token, prove
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from random import Random

MAX_MESSAGE_BYTES = 50_000
"""What the servers under fire take at most, so that what is too large is soon sent."""

CLIENT_FRAME: Any = message_class("ClientFrame")
SERVER_FRAME: Any = message_class("ServerFrame")

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
    codec, phase = rng.choice(list(CODECS)), rng.choice(list(Phase))
    batches = [rng.randint(1, 3) for _ in range(rng.choice((0, 1, 1, 2, 3, 4)))]
    frames = [hello_frame(Hello(RUN, ROUND, client, phase, (WIDTH,), codec), stream)]
    frames += [good_forward(step, batch, codec) for step, batch in enumerate(batches)]
    frames.append(done_frame(len(batches), sum(batches)))
    return Dialed(client, stream, frames, rng.choice((1, 1, 2, 99)))


@cache
def good_forward(step: int, batch: int, codec: str) -> bytes:
    """A batch that differs from step to step; any codec keeps its numbers."""
    tensor = torch.arange(batch * WIDTH, dtype=torch.float32).remainder(5).view(batch, WIDTH) + step
    return forward_frame(step, CODECS[codec].encode(tensor), torch.arange(batch).remainder(CLASSES))


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
    first, rest = list(whole.frames[:cut]), list(whole.frames[max(1, cut) :])
    answered = max(0, cut - 1 - rng.choice((0, 0, 0, 1, 2)))
    again = [_going_on_at(whole.frames[0], answered), *whole.frames[1 + answered : max(1, cut)], *rest]
    for frames in rng.choice(((first,), (again,), (first, again))):
        _spoil(frames, rng)
    return [whole._replace(frames=first), whole._replace(frames=again)]


def _going_on_at(opening: bytes, step: int) -> bytes:
    frame = CLIENT_FRAME.FromString(opening)
    frame.hello.next_step = step
    return bytes(frame.SerializeToString())


def _spoil(frames: list[bytes], rng: Random) -> None:
    at = rng.randrange(len(frames)) if frames else 0
    way = rng.random()
    if way < 0.5 and frames:
        frames[at] = mutated(frames[at], CLIENT_FRAME, rng)
    elif way < 0.6:
        frames.insert(at, drawn(CLIENT_FRAME, rng).SerializeToString())
    elif way < 0.75:
        frames.insert(at, _strange_forward(rng, frames, at))
    elif way < 0.8:
        frames.insert(at, rng.choice(frames or [b""]))
    elif way < 0.85:
        del frames[at : at + rng.choice((1, 1, 9))]
    elif way < 0.9:
        rng.shuffle(frames)
    elif way < 0.95:
        frames.append(rng.choice([*frames[at : at + 1], done_frame(rng.randrange(4), 1)]))
    else:
        frames.insert(at, rng.randbytes(rng.choice((0, 1, 50, MAX_MESSAGE_BYTES + 1, 70_000))))


def _strange_forward(rng: Random, frames: list[bytes], at: int) -> bytes:
    """A Forward in its place that is a frame, with one thing or another that no server takes, or hardly any."""
    codec = _codec_of(frames) if rng.random() < 0.8 else rng.choice(list(CODECS))
    batch, width = rng.choice((1, 2, 3)), WIDTH
    if rng.random() < 0.3:
        batch, width = rng.choice((0, 1, 2, 900, 4000)), rng.choice((WIDTH, 0, 1, 7))
    tensor = torch.ones(batch, width)
    spec, buffers = CODECS[codec].encode(tensor) if tensor.numel() else (TensorSpec((batch, width), codec), ())
    data = bytearray(b"".join(buffers))
    if data and rng.random() < 0.4:  # NaN or infinity in most codecs
        at_byte = rng.randrange(0, len(data), 4)
        odd = rng.choice((b"\xff\xff\xff\xff", b"\x00\x00\x80\x7f", b"\x00\x7c", b"\x80\x7f"))
        data[at_byte : at_byte + len(odd)] = odd
    if rng.random() < 0.2:
        scale = rng.choice((0.0, -1.0, math.nan, math.inf, 1e38, 1e300, 5e-324))
        spec = spec._replace(scale=scale, zero_point=rng.choice((0, -(2**31), 2**31 - 1)))
    labels = torch.full((batch,), rng.choice((0, CLASSES - 1, CLASSES, 2**32 - 1)))
    if rng.random() < 0.3:
        labels = labels.repeat(2)[: rng.choice((0, 1, batch + 1))]
    step = at - 1 if at > 0 and rng.random() < 0.8 else rng.choice((0, 1, 2, 2**32 - 1))
    return forward_frame(step, Encoded(spec, (memoryview(data),)), labels if len(labels) else None)


def _codec_of(frames: list[bytes]) -> str:
    """What a stream has announced, if it has."""
    with suppress(DecodeError, IndexError):
        announced = CLIENT_FRAME.FromString(frames[0]).hello.codec
        return dict(enumerate(CODECS, 1)).get(announced, "float32")
    return "float32"
