"""One gRPC stream from the client's side: ask, and get the answer before a deadline."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING

import grpc

from splitfed.errors import FrameError, Refused
from splitfed.wire import limits
from splitfed.wire.frames import read_refusal_trailer
from splitfed.wire.tls import SERVER
from splitfed.wire.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from splitfed.wire.proof import Metadata


class CallLost(Exception):
    """The stream broke, and may be dialed again."""


class Call:
    """One stream to ``address``, which need not be reachable before the first question.

    Args:
        address: ``host:port``.
        proof: metadata that shows who opens the stream.
        deadline_s: how long an answer may take; the stream is broken after that.
        max_message_bytes: the largest frame in either direction.
        keepalive: how soon a frozen peer is noticed.
        credentials: for TLS, under which the server has to be called `tls.SERVER`; without, the stream is in clear.
        stopped: asked every second while an answer is waited for: once true, none is waited for.
    """

    def __init__(
        self,
        address: str,
        *,
        proof: Metadata,
        deadline_s: float,
        max_message_bytes: int,
        keepalive: limits.Keepalive,
        credentials: grpc.ChannelCredentials | None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.address = address
        self._deadline_s = deadline_s
        options = limits.client_options(max_message_bytes, keepalive)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            # whoever stands at the address: see `tls`
            named = [*options, ("grpc.ssl_target_name_override", SERVER)]
            self._channel = grpc.secure_channel(address, credentials, named)
        self._questions: SimpleQueue[bytes | None] = SimpleQueue()
        questions: Iterator[bytes] = iter(self._questions.get, None)
        # frames are bytes already, and bytes(frame) is the frame itself
        stream = self._channel.stream_stream(limits.METHOD, bytes, bytes)
        self._stream = stream(questions, metadata=proof)
        self._answers: Iterator[bytes] = iter(self._stream)
        self._watchdog = Watchdog(deadline_s, self._cancel, stopped)

    def ask(self, frame: bytes) -> bytes:
        """The answer to ``frame``.

        Raises:
            CallLost: none came.
            Refused: the server turned the stream away, or its gRPC a frame that was too large for it.
            FrameError: whoever listens there is no split server.
        """
        self._watchdog.arm(self._deadline_s)
        self._questions.put(frame)
        try:
            return next(self._answers)
        except StopIteration:
            raise CallLost(f"{self.address} ended the stream") from None
        except grpc.RpcError:
            raise self._lost() from None
        finally:
            self._watchdog.disarm()

    def close(self) -> None:
        """End the stream, and with it its connection."""
        self._watchdog.close()
        self._questions.put(None)
        self._cancel()
        self._channel.close()

    def _cancel(self) -> None:
        self._stream.cancel()  # type: ignore[no-untyped-call]

    def _lost(self) -> Exception:
        status, details = self._stream.code(), self._stream.details()
        if self._watchdog.expired:
            return CallLost(f"{self.address} gave no answer within {self._deadline_s:g} s")
        if (refusal := read_refusal_trailer(self._stream.trailing_metadata() or ())) is not None:
            return refusal
        if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            return Refused("OVERSIZED", f"{self.address}: {details}")
        if status is grpc.StatusCode.UNIMPLEMENTED:
            return FrameError(f"{self.address} speaks gRPC but serves no split learning: {details}")
        return CallLost(f"{self.address}: {status.name}: {details}")
