"""The server's end of the wire: streams in, gradients out, refusals with a reason."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import grpc

from splitfed.errors import Refused
from splitfed.wire import limits
from splitfed.wire.address import busy, join_address, split_address
from splitfed.wire.checks import StreamRules
from splitfed.wire.door import Door
from splitfed.wire.exactly_once import Ledger
from splitfed.wire.frames import refusal_trailer
from splitfed.wire.stream import WAITS, ServerStream, Waits
from splitfed.wire.traffic import ServerTraffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from splitfed.wire.proof import Claim
    from splitfed.wire.session import SessionHost

logger = logging.getLogger(__name__)

_SPARE_WORKERS = 4  # streams that are turned away get a worker just long enough to be told so
_STATUS = {"TOO_MANY_STREAMS": grpc.StatusCode.RESOURCE_EXHAUSTED}


class SplitServer:
    """Serves the sessions of ``host`` over gRPC; a context manager, started when made.

    Args:
        host: whoever holds the back.
        address: ``host:port`` to listen on; port 0 takes a free one, see `address`.
        secret: what clients' tokens are derived from (`proof.client_token`); it stays here.
        max_message_bytes: larger frames and larger tensors are refused.
        max_streams: how many clients may have a stream open at once; each holds a thread.
        waits: how long the server waits for a stream.
        keepalive: how soon a frozen peer is noticed.
        credentials: for TLS (`tls.TlsFiles`); without, the wire is in clear and a tap can read it.

    Raises:
        UserError: the port is busy.
    """

    def __init__(
        self,
        host: SessionHost,
        *,
        address: str = "127.0.0.1:0",
        secret: str,
        max_message_bytes: int = limits.MAX_MESSAGE_BYTES,
        max_streams: int = 64,
        waits: Waits = WAITS,
        keepalive: limits.Keepalive = limits.KEEPALIVE,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.counters = ServerTraffic()
        self._ledger = Ledger(host)
        self._rules = StreamRules(host.classes, max_message_bytes)
        self._door = Door(secret, max_streams)
        self._waits = waits
        # twice: a stream that lost its place may be at work for a moment yet
        self._workers = ThreadPoolExecutor(2 * max_streams + _SPARE_WORKERS, "splitfed-stream")
        options = limits.server_options(max_message_bytes, keepalive, waits.hello_s)
        self._server = grpc.server(self._workers, options=options)
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
        handler = grpc.stream_stream_rpc_method_handler(self.stream)
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

    def stream(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """One stream, as gRPC calls it: turned away before any of it is read, or served."""
        self.counters.count(streams=1)
        try:
            with self._door.admitted(context) as claim:
                yield from self._served(frames, context, claim)
        except Refused as refusal:
            self._turn_away(refusal, context)

    def _served(self, frames: Iterator[bytes], context: grpc.ServicerContext, claim: Claim) -> Iterator[bytes]:
        stream = ServerStream(
            frames,
            context,
            claim,
            rules=self._rules,
            ledger=self._ledger,
            counters=self.counters,
            waits=self._waits,
            accepted=partial(self._door.accepted, claim),
        )
        return stream.answers()

    def _turn_away(self, refusal: Refused, context: grpc.ServicerContext) -> None:
        """Refuse by a status, for which gRPC waits for nobody; an answer waits for its reader."""
        self.counters.refuse(refusal.reason)
        logger.info("turned away %s: %s", refusal.reason, refusal.message)
        context.set_trailing_metadata(refusal_trailer(refusal.reason, refusal.message))
        context.abort(_STATUS.get(refusal.reason, grpc.StatusCode.UNAUTHENTICATED), refusal.message)
