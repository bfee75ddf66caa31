"""Inputs for the tap alone: answers of a server that lies, and bytes that are hardly HTTP/2."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import torch

from splitfed.bench.fuzz.books import agree
from splitfed.bench.fuzz.conversations import CLIENT_FRAME, SERVER_FRAME, checksummed, good_dial
from splitfed.bench.fuzz.host import FEATURES
from splitfed.bench.fuzz.http2_frames import (
    END_HEADERS,
    END_STREAM,
    NONSENSE,
    block,
    headers,
    message,
    opening,
    request,
)
from splitfed.bench.fuzz.inside import RULES, STREAM
from splitfed.bench.fuzz.messages import drawn, mutated
from splitfed.bench.fuzz.strange import announced
from splitfed.wire.backlog import Direction
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import accept_frame, features_frame, finished_frame, gradient_frame
from splitfed.wire.tap import Tap

if TYPE_CHECKING:
    from splitfed.bench.fuzz.alarms import Alarms
    from splitfed.bench.fuzz.conversations import Dialed
    from splitfed.types import Observation

Chunk = tuple[Direction, bytes]

_START = headers(STREAM, block([(":status", b"200")]))


class Watched:
    """A tap that stays, while connections come and go."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.tap = Tap(self.seen.append, _no_notice, rules=RULES)
        self._connections = 0

    def pass_by(self, chunks: list[Chunk]) -> Counter[str]:
        """What the tap counts of one connection, from its first byte to its end.

        Raises:
            Disagreement: it counts another number than it emits, holds something back, or gives up twice.
        """
        self._connections += 1
        self.seen.clear()
        before = self._counts()
        for direction, data in chunks:
            self.tap.received(self._connections, direction, data)
        self.tap.closed(self._connections)
        counted = self._counts()
        counted.subtract(before)
        agree("activations counted", counted["activations"], len(self.seen))
        agree("bytes that wait", self.tap.held_bytes, 0)
        agree("whether it is given up once at most", counted["unparsed"] in (0, 1), True)
        return counted

    def _counts(self) -> Counter[str]:
        tap = self.tap
        return Counter(
            activations=tap.activations,
            unparsed=tap.unparsed,
            ignored=tap.ignored,
            missed=tap.missed,
            ciphertext=tap.ciphertext,
        )


class Answers:
    """A good client, and a server that says what no server should."""

    name = "answers"

    def __init__(self, _: Alarms) -> None:
        self._watched = Watched()

    def one(self, rng: Random, number: int) -> str:
        """What became of input ``number``."""
        dialed = good_dial(rng, number)
        answers = _good_answers(dialed)
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(answers) + 1)
            if rng.random() < 0.6 and at < len(answers):
                answers[at] = checksummed(mutated(answers[at], SERVER_FRAME, rng), rng)
            elif rng.random() < 0.5:
                answers.insert(at, checksummed(drawn(SERVER_FRAME, rng).SerializeToString(), rng))
            else:
                rng.shuffle(answers)
        chunks = [
            *_questions(dialed),
            (Direction.TO_CLIENT, _START),
            *((Direction.TO_CLIENT, message(STREAM, answer)) for answer in answers),
        ]
        if rng.random() < 0.5:  # answers before their questions, too
            chunks = chunks[:1] + rng.sample(chunks[1:], len(chunks) - 1)
        self._watched.pass_by(chunks)
        check_seen(self._watched.seen, dialed)
        return f"{len(self._watched.seen)} observed"

    def close(self) -> None:
        """Nothing more comes."""


class Connections:
    """A good stream in bytes that were altered, cut, swapped, or mixed with what nobody should send."""

    name = "connections"

    def __init__(self, _: Alarms) -> None:
        self._watched = Watched()

    def one(self, rng: Random, number: int) -> str:
        """What became of input ``number``; it is fed twice, in other portions."""
        dialed = good_dial(rng, number)
        chunks = _good_connection(dialed)
        nonsense_alone = rng.random() < 0.6
        for _ in range(rng.choice((1, 1, 2, 5))):
            if nonsense_alone:
                kind = rng.choice(list(NONSENSE))
                at, direction = rng.randint(1, len(chunks)), rng.choice((*Direction, Direction.TO_SERVER))
                chunks.insert(at, (direction, NONSENSE[kind](rng, STREAM)))
            else:
                _spoil(chunks, rng)
        counted = self._watched.pass_by(chunks)
        seen = list(self._watched.seen)
        check_seen(seen, dialed, in_order=nonsense_alone)  # else a batch may have been repeated
        agree("what the tap counts of the same bytes in other portions", self._again(chunks, rng), counted)
        agree("what it observes of them", _digests(self._watched.seen), _digests(seen))
        return "given up" if counted["unparsed"] else f"{len(seen)} observed"

    def close(self) -> None:
        """Nothing more comes."""

    def _again(self, chunks: list[Chunk], rng: Random) -> Counter[str]:
        portions = []
        for direction, data in chunks:
            cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.choice((0, 1, 3))))
            portions += [(direction, data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        return self._watched.pass_by(portions)


def check_seen(seen: list[Observation], dialed: Dialed, *, in_order: bool = True) -> None:
    """Whatever is observed of a stream is a batch that its client sent, and no bit of it is another; once each.

    Raises:
        Disagreement: it is not.
    """
    questions = [CLIENT_FRAME.FromString(raw) for raw in dialed.frames]
    sent = [question for question in questions if question.HasField("forward")]
    steps = [observation.step for observation in seen]
    if in_order:
        agree("steps observed, in order and once", steps, sorted(set(steps)))
    for observation in seen:
        frame = sent[observation.step]
        agree("its step", observation.step, frame.forward.step)
        agree("its client", observation.client, dialed.client)
        labels = [] if observation.labels is None else observation.labels.tolist()
        agree("its labels", labels, list(frame.forward.labels))
        batch, width = observation.activation.shape
        expected = torch.arange(batch * width).remainder(5).view(batch, width) + float(observation.step)
        bound = 0.05  # of the coarsest codec
        agree("its numbers", bool((observation.activation - expected).abs().max() < bound), True)


def _questions(dialed: Dialed) -> list[Chunk]:
    start = opening() + request(STREAM, ())
    return [(Direction.TO_SERVER, start), *((Direction.TO_SERVER, message(STREAM, raw)) for raw in dialed.frames)]


def _good_answers(dialed: Dialed) -> list[bytes]:
    keeps_labels = announced(dialed.frames).keeps_labels
    return [_good_answer(CLIENT_FRAME.FromString(raw), keeps_labels=keeps_labels) for raw in dialed.frames]


def _good_answer(question: Any, *, keeps_labels: bool) -> bytes:
    match question.WhichOneof("body"):
        case "hello":
            return accept_frame(0)
        case "done":
            return finished_frame(question.done.steps, question.done.examples)
        case "forward" if keeps_labels:
            rows = question.forward.tensor.shape[0]
            return features_frame(question.forward.step, CODECS["float32"].encode(torch.ones(rows, FEATURES)))
    return gradient_frame(getattr(question, question.WhichOneof("body")).step, 0.5, 1, None)


def _good_connection(dialed: Dialed) -> list[Chunk]:
    chunks = [*_questions(dialed)[:1], (Direction.TO_CLIENT, _START)]
    for question, answer in zip(dialed.frames, _good_answers(dialed), strict=True):
        chunks += [(Direction.TO_SERVER, message(STREAM, question)), (Direction.TO_CLIENT, message(STREAM, answer))]
    trailers = headers(STREAM, block([("grpc-status", b"0")]), END_HEADERS | END_STREAM)
    return [*chunks, (Direction.TO_CLIENT, trailers)]


def _spoil(chunks: list[Chunk], rng: Random) -> None:
    at = rng.randrange(len(chunks))
    direction, data = chunks[at]
    way = rng.randrange(6)
    if way == 0 and data:
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        data = bytes(flipped)
    elif way == 1:
        data = data[: rng.randint(0, len(data))]
    elif way == 2:
        data = data + rng.randbytes(rng.choice((1, 9, 100)))
    elif way == 3:
        cut = rng.randint(0, len(data))
        data = data[:cut] + rng.randbytes(rng.randrange(20)) + data[cut:]
    elif way == 4:
        direction = rng.choice(list(Direction))
    else:
        chunks.insert(rng.randrange(len(chunks) + 1), (direction, data))
        return
    chunks[at] = (direction, data)


def _digests(seen: list[Observation]) -> list[tuple[int, int, bytes]]:
    return [(each.client, each.step, each.activation.numpy().tobytes()) for each in seen]


def _no_notice(_: str) -> None:
    """The user is told elsewhere."""
