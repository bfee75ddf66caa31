"""Inputs over the network, through the relay and past the tap: gRPC streams, and sockets that speak HTTP/2 badly."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import torch

from splitfed.bench.fuzz.books import answered_batches, check_kinds
from splitfed.bench.fuzz.conversations import SERVER_FRAME, Dialed, fresh_proof, spoilt_dials
from splitfed.bench.fuzz.host import ATTACKERS, CLASSES, HONEST, ROUND, RUN, SECRET, WIDTH
from splitfed.bench.fuzz.http2_frames import DATA, END_STREAM, NONSENSE, frame, message, opening, request
from splitfed.bench.fuzz.inside import STREAM
from splitfed.bench.fuzz.target import digest
from splitfed.errors import FrameError
from splitfed.types import Phase
from splitfed.wire.address import split_address
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import done_frame, forward_frame, hello_frame, read_refusal_trailer, reason_name, unpack
from splitfed.wire.http2 import Ended, Message, MessageReader
from splitfed.wire.limits import METHOD
from splitfed.wire.proof import Claim, Metadata, client_token, prove
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from random import Random

    from splitfed.bench.fuzz.target import Besieged, Seen

_ANSWER_S = 60.0
_INPUTS_A_CHANNEL = 50
_SILENCE_S = 0.1
_BREAK_OFF = struct.pack("ii", 1, 0)  # SO_LINGER: reset at once


class Account(NamedTuple):
    """What attackers know of what became of an input.

    Attributes:
        became: of its streams: the reason of a refusal, "finished", or "broken"; where all is heard.
        answered: batches that a gradient or features came back for; without a digest where all is heard.
        sent: batches that were sent as they should be, where not all is heard.
    """

    became: Counter[str]
    answered: Counter[Seen]
    sent: Counter[Seen]

    def and_then(self, other: Account) -> Account:
        """Both together."""
        return Account(self.became + other.became, self.answered + other.answered, self.sent + other.sent)


NOTHING = Account(Counter(), Counter(), Counter())


class GrpcStreams:
    """Spoilt conversations over gRPC, one after the other; each is heard to its end, so that all of it is known."""

    name = "streams"
    hears_all = True

    def __init__(self, target: Besieged) -> None:
        self._address = target.relay
        self._channel: grpc.Channel | None = None

    def one(self, rng: Random, number: int) -> Account:
        """What became of input ``number``."""
        if self._channel is None or number % _INPUTS_A_CHANNEL == 0:
            self.close()
            self._channel = grpc.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)])
        told = NOTHING
        for dialed in spoilt_dials(rng, number):
            told = told.and_then(self._dial(self._channel, dialed, rng))
        return told

    def close(self) -> None:
        """Nothing more comes."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @staticmethod
    def _dial(channel: grpc.Channel, dialed: Dialed, rng: Random) -> Account:
        proof = _proof(rng, dialed)
        call: Any = channel.stream_stream(METHOD, bytes, bytes)(iter(dialed.frames), metadata=proof, timeout=_ANSWER_S)
        answers: list[Any] = []
        with suppress(grpc.RpcError):
            for raw in call:
                answers.append(unpack(SERVER_FRAME, raw)[0])
        check_kinds(dialed.frames, answers)
        answered = Counter((dialed.client, step, "") for step in answered_batches(dialed.frames, answers))
        return Account(Counter([_end(answers, call)]), answered, Counter())


def _end(answers: list[Any], call: Any) -> str:
    turned_away = read_refusal_trailer(call.trailing_metadata() or ())
    if turned_away is not None:
        return turned_away.reason
    if answers and answers[-1].HasField("refusal"):
        return reason_name(answers[-1].refusal.reason)
    return "finished" if answers and answers[-1].HasField("finished") else "broken"


def _proof(rng: Random, dialed: Dialed) -> Metadata:
    """Good as a rule; or none, another client's, one that is cut, or older than others."""
    good = fresh_proof(dialed.client, dialed.stream)
    ((key, raw),) = good
    token = client_token(SECRET, HONEST[0])
    foreign = prove(Claim(RUN, dialed.client, dialed.stream, time.time_ns()), token)
    old = prove(Claim(RUN, dialed.client, dialed.stream, 1), client_token(SECRET, dialed.client))
    return rng.choice((*(good,) * 12, (), ((key, raw[: rng.randrange(len(raw))]),), foreign, old))


class Sockets:
    """Good streams in connections that are not: nonsense among their frames, cuts, silence, no preface.

    Each batch is marked by its input's number, so that it is known whose observation is whose.
    """

    name = "sockets"
    hears_all = False

    def __init__(self, target: Besieged) -> None:
        self._target = target

    def one(self, rng: Random, number: int) -> Account:
        """What became of input ``number``."""
        client = rng.choice(ATTACKERS)
        words, sent = _spoilt_connection(rng, number, client)
        reads = rng.random() < 0.8
        answered: list[int] = []
        with suppress(OSError), socket.create_connection(split_address(self._target.relay), timeout=_ANSWER_S) as peer:
            if rng.random() < 0.5:  # break off, rather than end
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK_OFF)
            for word in words:
                peer.sendall(word)
            if reads:
                answered = _answers(peer)
        return NOTHING._replace(
            answered=Counter({(client, step, sent[step]): 1 for step in answered}),
            sent=Counter({(client, step, what): 1 for step, what in sent.items()}),
        )

    def close(self) -> None:
        """Nothing more comes."""


def _spoilt_connection(rng: Random, number: int, client: int) -> tuple[list[bytes], dict[int, str]]:
    """Its bytes, and a digest of each batch in it, by step; no batch where nothing is proven."""
    stream, steps, batch = b"socket %d" % number, rng.randint(1, 3), rng.randint(1, 2)
    tensors = [torch.full((batch, WIDTH), number % 2**20 + step / 8) for step in range(steps)]
    keeps_labels = rng.random() < 0.3
    labels = None if keeps_labels else torch.arange(batch).remainder(CLASSES)
    frames = [hello_frame(Hello(RUN, ROUND, client, Phase.TEST, (WIDTH,), keeps_labels=keeps_labels), stream)]
    frames += [forward_frame(step, CODECS["float32"].encode(tensor), labels) for step, tensor in enumerate(tensors)]
    frames.append(done_frame(steps, steps * batch))
    proven = rng.random() < 0.8
    words = [opening(), request(STREAM, fresh_proof(client, stream) if proven else ())]
    words += [message(STREAM, raw) for raw in frames]
    words.append(frame(DATA, END_STREAM, STREAM))
    for _ in range(rng.choice((1, 1, 2, 4))):
        words.insert(rng.randint(1, len(words)), NONSENSE[rng.choice(list(NONSENSE))](rng, STREAM))
    if rng.random() < 0.05:
        words = words[1:]
    if rng.random() < 0.1:
        words = words[: rng.randint(0, len(words))]
    return words, {step: digest(tensor, labels) for step, tensor in enumerate(tensors)} if proven else {}


def _answers(peer: socket.socket) -> list[int]:
    """Steps of batches that were answered, until the stream or the connection ends, or nothing comes."""
    reader = MessageReader(preface=False, max_message_bytes=2**20)
    steps: list[int] = []
    peer.settimeout(_SILENCE_S)
    with suppress(OSError, FrameError):
        while data := peer.recv(2**16):
            for event in reader.feed(data):
                if isinstance(event, Ended) and event.stream == STREAM:
                    return steps
                if isinstance(event, Message) and event.stream == STREAM:
                    answer, _ = unpack(SERVER_FRAME, event.payload)
                    steps += [getattr(answer, kind).step for kind in ("gradient", "features") if answer.HasField(kind)]
    return steps
