"""The server's end of the wire: streams in, gradients out, refusals with a reason."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from splitfed.errors import FrameError, Refused
from splitfed.wire import limits
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.address import busy, join_address, split_address
from splitfed.wire.checks import StreamRules
from splitfed.wire.frames import accept_frame, finished_frame, refusal_frame, unpack
from splitfed.wire.ledger import Ledger
from splitfed.wire.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from splitfed.wire.session import Hello, SessionHost

logger = logging.getLogger(__name__)

_SPARE_WORKERS = 4  # streams beyond the limit get a worker just long enough to be told so


class _StreamLost(Exception):
    """No frame came in time."""


@dataclass
class Counters:
    """What a server has seen so far; bytes are those of whole frames.

    Attributes:
        refused: refused frames by reason, a name of ``Refusal.Reason`` in split.proto.
        broken: streams that ended without `Done` or a refusal: a dead client, a dead relay, a deadline, a frame
            so large that gRPC itself cut it off.
    """

    streams: int = 0
    frames: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    broken: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class SplitServer:
    """Serves the sessions of ``host`` over gRPC; a context manager, started when made.

    Args:
        host: whoever holds the back.
        address: ``host:port`` to listen on; port 0 takes a free one, see `address`.
        token: what clients must say to be let in.
        max_message_bytes: larger frames and larger tensors are refused.
        max_streams: how many may be open at once; each holds a thread.
        hello_s: how long a new stream may take to introduce itself.
        idle_s: how long the server waits for the next frame of a stream.
        credentials: for TLS; without, the wire is in clear and a tap can read it.

    Raises:
        UserError: the port is busy.
    """

    def __init__(
        self,
        host: SessionHost,
        *,
        address: str = "127.0.0.1:0",
        token: str,
        max_message_bytes: int = limits.MAX_MESSAGE_BYTES,
        max_streams: int = 64,
        hello_s: float = 10.0,
        idle_s: float = 600.0,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.counters = Counters()
        self._ledger = Ledger(host)
        self._rules = StreamRules(token, host.classes, max_message_bytes)
        self._places = threading.Semaphore(max_streams)
        self._max_streams = max_streams
        self._hello_s, self._idle_s = hello_s, idle_s
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(max_streams + _SPARE_WORKERS, "splitfed-stream")
        self._server = grpc.server(
            self._workers,
            options=limits.server_options(max_message_bytes),
            maximum_concurrent_rpcs=max_streams + _SPARE_WORKERS,
        )
        self._register()
        self.address = self._listen(address, credentials)
        self._server.start()

    def __enter__(self) -> SplitServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut all streams at once and wait until no session is at work."""
        self._server.stop(grace=None).wait()
        self._workers.shutdown()

    def _register(self) -> None:
        service, method = limits.METHOD.strip("/").split("/")
        handler = grpc.stream_stream_rpc_method_handler(self._stream)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> str:
        host, _ = split_address(address)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            self._workers.shutdown()
            raise busy(address, str(error).split(";")[0]) from None
        return join_address(host, port)

    def _stream(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """One stream: from Hello to Finished, a Refusal or its loss."""
        self._count(streams=1)
        try:
            with self._place():
                yield from self._replies(frames, context)
        except Refused as refusal:
            yield self._refusal(refusal)
        except FrameError as error:
            yield self._refusal(Refused("GARBLED", str(error)))
        except (grpc.RpcError, _StreamLost):
            self._count(broken=1)
        except Exception as error:
            logger.exception("a stream failed")
            why = f"the server failed ({type(error).__name__}); its log says how"
            yield self._refusal(Refused("INTERNAL", why))

    def _replies(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        hello, stream = self._introduction(frames, context)
        seat, turn, next_step = self._ledger.take_seat(hello, stream)
        yield self._sent(accept_frame(next_step))
        for raw in self._received(frames, context, self._idle_s):
            frame, data = unpack(pb.ClientFrame, raw)
            if frame.HasField("forward"):
                batch = self._rules.batch(hello, frame.forward, data)
                try:
                    yield self._sent(seat.forward(turn, frame.forward.step, *batch))
                finally:  # also when the client is gone: the step was taken
                    seat.settle()
            elif frame.HasField("done"):
                seat.finish(turn, frame.done.steps, frame.done.examples)
                yield self._sent(finished_frame(frame.done.steps, frame.done.examples))
                return
            else:
                raise Refused("OUT_OF_ORDER", f"{hello}: want Forward or Done, got a second Hello")
        self._count(broken=1)

    def _introduction(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> tuple[Hello, bytes]:
        for raw in self._received(frames, context, self._hello_s):
            return self._rules.introduction(raw)
        raise Refused("OUT_OF_ORDER", "want Hello, got nothing")

    def _received(self, frames: Iterator[bytes], context: grpc.ServicerContext, limit_s: float) -> Iterator[bytes]:
        """The frames as they come; the stream is cancelled when none comes within ``limit_s``."""
        watchdog = Watchdog(limit_s, context.cancel)
        try:
            watchdog.arm()
            for raw in frames:
                watchdog.disarm()
                self._count(frames=1, received_bytes=len(raw))
                self._rules.check_size(raw)
                yield raw
                watchdog.arm()
            if watchdog.expired:  # gRPC may end a cancelled stream as if the client had ended it
                raise _StreamLost
        finally:
            watchdog.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Refused("TOO_MANY_STREAMS", f"all {self._max_streams} streams are in use; try again later")
        try:
            yield
        finally:
            self._places.release()

    def _refusal(self, refusal: Refused) -> bytes:
        known = refusal.reason in pb.Refusal.Reason.keys()  # noqa: SIM118  not a dict
        reason = refusal.reason if known else "INTERNAL"
        with self._lock:
            self.counters.refused[reason] += 1
        logger.info("refused %s: %s", reason, refusal.message)
        return self._sent(refusal_frame(reason, refusal.message))

    def _sent(self, frame: bytes) -> bytes:
        self._count(sent_bytes=len(frame))
        return frame

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, value in more.items():
                setattr(self.counters, name, getattr(self.counters, name) + value)
