"""What is spoilt begins as what is good, and gets as far as each rule of the server's, checksums or not."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from splitfed.bench.fuzz import command
from splitfed.bench.fuzz.alarms import Alarms
from splitfed.bench.fuzz.conversations import CLIENT_FRAME, Dialed, fresh_proof, good_dial
from splitfed.bench.fuzz.inside import Heard, Inside
from splitfed.errors import FrameError
from splitfed.types import Phase
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import read_hello, unpack
from splitfed.wire.proof import Metadata

_OF_A_TENSOR = ("WRONG_SHAPE", "OVERSIZED", "WRONG_CODEC", "GARBLED", "NOT_FINITE", "OUT_OF_ORDER")
REFUSED = {
    *(("hello", reason) for reason in ("GARBLED", "UNKNOWN_CODEC", "STALE_ROUND", "WRONG_SHAPE", "BAD_TOKEN")),
    *(("forward", reason) for reason in (*_OF_A_TENSOR, "BAD_LABELS")),
    *(("backward", reason) for reason in _OF_A_TENSOR),
    *(("hello", "OUT_OF_ORDER"), ("done", "OUT_OF_ORDER"), ("no frame", "GARBLED"), ("no frame", "CORRUPTED")),
}
"""What conversations say, and what it is refused for."""


def test_good_streams_are_taken_to_their_end() -> None:
    """In all codecs and phases, and with labels that travel or stay: what is spoilt begins as what is good."""
    kinds = Counter[tuple[str, str, bool]]()
    with Alarms() as alarms:
        inside = Inside(alarms)
        for number in range(300):
            dialed = good_dial(Random(number), number)
            heard = inside.play(dialed, fresh_proof(dialed.client, dialed.stream))
            assert heard.answers[-1].HasField("finished")
            hello = read_hello(unpack(CLIENT_FRAME, dialed.frames[0])[0].hello)
            kinds[hello.codec, hello.phase.name, hello.keeps_labels] += 1
        inside.close()
    assert len(kinds) == len(CODECS) * len(Phase) * 2


def test_checksums_hide_no_rule_that_a_server_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is reached, of each kind of frame, and in both halves of a step where labels stay with the client."""
    refused = Counter[tuple[str, str]]()
    play = Inside.play

    def noting(self: Inside, dialed: Dialed, proof: Metadata) -> Heard:
        heard = play(self, dialed, proof)
        if heard.refused and heard.read:
            refused[_said(dialed.frames[heard.read - 1]), heard.refused] += 1
        return heard

    monkeypatch.setattr(Inside, "play", noting)
    assert command.inside("conversations", range(2000), 0).failures == []
    assert REFUSED - set(refused) == set()


def _said(raw: bytes) -> str:
    try:
        return unpack(CLIENT_FRAME, raw)[0].WhichOneof("body") or ""
    except FrameError:
        return "no frame"
