"""Inputs that need no network, by the thousand: whole conversations, and proofs."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, cast

from splitfed.bench.fuzz.books import agree
from splitfed.bench.fuzz.conversations import (
    Dialed,
    fresh_proof,
    good_backward,
    good_dial,
    good_forward,
    spoilt_dials,
)
from splitfed.bench.fuzz.host import HONEST, ROUND, RUN, SECRET, WIDTH
from splitfed.bench.fuzz.inside import CallWithoutGrpc, Inside
from splitfed.bench.fuzz.messages import message_class, mutated
from splitfed.types import Phase
from splitfed.wire.frames import done_frame, hello_frame
from splitfed.wire.proof import PROOF_KEY, Claim, Numbers, client_token, prove
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    import grpc

    from splitfed.bench.fuzz.alarms import Alarms
    from splitfed.bench.fuzz.inside import Heard

Metadata = tuple[tuple[str, str | bytes], ...]

_HONEST_EVERY = 8
_HONEST_STEPS = 20
_PROOF: Any = message_class("Proof")
_CLAIM: Any = message_class("Claim")
_LIARS = tuple(range(10, 18))
"""Clients that hold a good token and claim nonsense; some shut themselves out."""


class Bystander:
    """An honest client whose stream goes on while others bombard the server; it starts anew when it is through.

    Its labels travel in one stream, and stay with it in the next.
    """

    def __init__(self, inside: Inside, quiet: Inside) -> None:
        self._inside = inside
        self._quiet = [list(_honest_stream(quiet, stream)) for stream in (0, 1)]
        quiet.close()
        self._streams = 0
        self._answers: Iterator[bytes] = iter(())
        self._expected: list[bytes] = []
        self._heard = 0

    def step(self) -> None:
        """Its next answer.

        Raises:
            Disagreement: it is not what a server answers that nobody disturbs, to the bit.
        """
        if self._heard == len(self._expected):
            agree("an answer after the last", list(self._answers), [])
            self._answers, self._heard = _honest_stream(self._inside, self._streams), 0
            self._expected = self._quiet[self._streams % 2]
            self._streams += 1
        agree("what an honest client is answered", next(self._answers, None), self._expected[self._heard])
        self._heard += 1


def _honest_stream(inside: Inside, number: int) -> Iterator[bytes]:
    client, stream = HONEST[0], b"honest %d" % number
    keeps_labels = number % 2 == 1
    frames = [hello_frame(Hello(RUN, ROUND, client, Phase.TRAIN, (WIDTH,), keeps_labels=keeps_labels), stream)]
    for step in range(_HONEST_STEPS):
        frames.append(good_forward(step, 3, "float32", labels=not keeps_labels))
        frames += [good_backward(step, 3, "float32")] if keeps_labels else []
    frames.append(done_frame(_HONEST_STEPS, 3 * _HONEST_STEPS))
    call = CallWithoutGrpc(fresh_proof(client, stream))
    return inside.server.stream(iter(frames), cast("grpc.ServicerContext", call))


class Conversations:
    """Streams of clients that prove who they are, and then say what they should not."""

    name = "conversations"

    def __init__(self, alarms: Alarms) -> None:
        self.inside = Inside(alarms)
        self._bystander = Bystander(self.inside, Inside(alarms))

    def one(self, rng: Random, number: int) -> str:
        """What became of input ``number``."""
        if number % _HONEST_EVERY == 0:
            self._bystander.step()
        for dialed in spoilt_dials(rng, number):
            heard = self.inside.play(dialed, fresh_proof(dialed.client, dialed.stream))
        return outcome(heard)

    def close(self) -> None:
        """Nothing more comes."""
        self.inside.close()


class Proofs:
    """Streams that say nothing wrong, of clients that prove it badly, again, or with what is not theirs."""

    name = "proofs"

    def __init__(self, alarms: Alarms) -> None:
        self.inside = Inside(alarms)
        self._bystander = Bystander(self.inside, Inside(alarms))
        self._numbers = Numbers()
        self._highest: dict[int, int] = {}

    def one(self, rng: Random, number: int) -> str:
        """What became of input ``number``."""
        if number % _HONEST_EVERY == 0:
            self._bystander.step()
        dialed = good_dial(rng, number)
        metadata = self._spoilt(dialed, rng)
        admitted = self._is_good(metadata)
        heard = self.inside.play(dialed, metadata)
        agree("whether a stream with this proof is read", heard.read > 0, admitted)
        if not admitted:
            agree("why not", heard.turned_away in ("BAD_TOKEN", "REPLAYED"), True)
        return outcome(heard)

    def close(self) -> None:
        """Nothing more comes."""
        self.inside.close()

    def _spoilt(self, dialed: Dialed, rng: Random) -> Metadata:
        client, stream = dialed.client, dialed.stream
        ((_, proof),) = fresh_proof(client, stream)
        way = rng.randrange(9)
        if way == 0:  # none, or none that is bytes
            return rng.choice(((), ((PROOF_KEY, "text"),), (("another-bin", proof),)))
        if way == 1:  # a guess, another client's token, or another run's
            foreign = (client_token(SECRET, client + 1), client_token("another", client), "guess", "")
            return prove(self._claim(client, stream), rng.choice(foreign))
        if way == 2:  # one that was used
            self._is_good(((PROOF_KEY, proof),))
            self.inside.play(dialed._replace(frames=dialed.frames[:1]), ((PROOF_KEY, proof),))
            return ((PROOF_KEY, proof),)
        if way == 3:  # a claim that was altered after it was proven
            parsed = _PROOF.FromString(proof)
            parsed.claim = mutated(parsed.claim, _CLAIM, rng)
            return ((PROOF_KEY, parsed.SerializeToString()),)
        if way == 4:  # nonsense, well proven
            liar = rng.choice(_LIARS)
            claim = mutated(_CLAIM(**self._claim(liar, stream)._asdict()).SerializeToString(), _CLAIM, rng)
            mac = hmac.digest(client_token(SECRET, liar).encode(), claim, "sha256")
            return ((PROOF_KEY, _PROOF(claim=claim, mac=mac).SerializeToString()),)
        if way == 5:  # too long a name, or none, well proven
            return prove(
                self._claim(rng.choice(_LIARS), bytes(rng.choice((0, 65, 9000)))), client_token(SECRET, client)
            )
        if way == 6:  # cut, or larger than any proof
            return ((PROOF_KEY, rng.choice((proof[: rng.randrange(len(proof))], proof * 300, bytes(2**16)))),)
        if way == 7:  # two, of which the last counts
            return ((PROOF_KEY, proof), (PROOF_KEY, rng.randbytes(60)))
        return ((PROOF_KEY, mutated(proof, _PROOF, rng)),)

    def _claim(self, client: int, stream: bytes) -> Claim:
        return Claim(RUN, client, stream, self._numbers.next())

    def _is_good(self, metadata: Metadata) -> bool:
        """What a proof has to be, said in other words than the server's."""
        raw = dict(metadata).get(PROOF_KEY)
        try:
            proof = _PROOF.FromString(raw)
            claim = _CLAIM.FromString(proof.claim)
        except Exception:
            return False
        token = client_token(SECRET, claim.client).encode()
        made = hmac.new(token, proof.claim, "sha256").digest() == proof.mac
        if not (made and 1 <= len(claim.stream) <= 64 and claim.number > self._highest.get(claim.client, 0)):
            return False
        self._highest[claim.client] = claim.number
        return True


def outcome(heard: Heard) -> str:
    """The reason of a refusal, or how else a stream ended."""
    finished = bool(heard.answers) and heard.answers[-1].HasField("finished")
    return heard.refused or ("finished" if finished else "broken")
