"""A client without manners: it says what a test wants, with or without a proof, and reads or does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue

import grpc
from google.protobuf.message import DecodeError

from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.frames import unpack
from splitfed.wire.limits import METHOD
from splitfed.wire.proof import Claim, Metadata, Numbers, client_token, prove
from tests.wire.hosts import RUN, SECRET

STREAM = b"a stream"
_NUMBERS = Numbers()


def proof_of(client: int = 0, stream: bytes = STREAM, *, run: str = RUN, token: str | None = None) -> Metadata:
    """A fresh proof, good unless a test says otherwise."""
    token = client_token(SECRET, client) if token is None else token
    return prove(Claim(run, client, stream, _NUMBERS.next()), token)


def proof_for(frames: list[bytes]) -> Metadata:
    """What a stream that begins with these frames has to prove."""
    frame = pb.ClientFrame()
    with suppress(DecodeError):
        frame.ParseFromString(frames[0] if frames else b"")
    return proof_of(frame.hello.client, run=frame.hello.run or RUN)


def converse(address: str, frames: list[bytes], proof: Metadata | None = None) -> list[pb.ServerFrame]:
    """Everything that the server answers to these frames, said all at once."""
    with grpc.insecure_channel(address) as channel:
        replies = channel.stream_stream(METHOD, bytes, bytes)(
            iter(frames), metadata=proof_for(frames) if proof is None else proof, timeout=10
        )
        return [unpack(pb.ServerFrame, reply)[0] for reply in replies]


class RawCall:
    """One stream, said word by word."""

    def __init__(
        self,
        address: str,
        proof: Metadata,
        *,
        first: Iterable[bytes] = (),
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)], compression)
        self._frames: SimpleQueue[bytes | None] = SimpleQueue()
        for frame in first:
            self._frames.put(frame)
        stream = self._channel.stream_stream(METHOD, bytes, bytes)
        self.call = stream(iter(self._frames.get, None), metadata=proof, timeout=10)
        self._answers: Iterator[bytes] = iter(self.call)

    def say(self, frame: bytes) -> None:
        """Send it, now or when gRPC has room."""
        self._frames.put(frame)

    def hear(self) -> pb.ServerFrame | None:
        """The next answer; None where the stream has ended."""
        try:
            return unpack(pb.ServerFrame, next(self._answers))[0]
        except (StopIteration, grpc.RpcError):
            return None

    def close(self) -> None:
        """End it at once, whatever is on the way."""
        self._frames.put(None)
        self.call.cancel()  # type: ignore[no-untyped-call]
        self._channel.close()


@contextmanager
def raw_call(
    address: str,
    proof: Metadata,
    *,
    first: Iterable[bytes] = (),
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> Iterator[RawCall]:
    """A `RawCall` that is closed in the end."""
    call = RawCall(address, proof, first=first, compression=compression)
    try:
        yield call
    finally:
        call.close()
