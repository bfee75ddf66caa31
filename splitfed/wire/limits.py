"""How large, how long and how often: the limits of the wire, and what they mean to gRPC."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 64 * 2**20
"""The largest frame, and the largest tensor in one: a batch of 64 with 250,000 float32 each."""

HEAD_BYTES, LABEL_BYTES = 128, 3
"""What a frame takes besides its payload, at most: its fields, and each label while there are below 2^21 classes."""

SLACK_BYTES = 2**20
"""How far beyond its limit a frame is still read, so that it can be refused with a reason. gRPC itself cuts off
anything larger, with the status RESOURCE_EXHAUSTED."""

MAX_HELLO_BYTES = 64 * 2**10
"""The largest Hello; a stream's first frame."""

HELLO_S = 10.0
"""How long a new stream may take to introduce itself, a new connection to speak HTTP/2, and any to carry no stream."""

IDLE_S = 600.0
"""How long a server waits for the next frame of a stream; a slow front may need a while for a batch."""

SEND_S = 60.0
"""How long one answer may take to be sent: 64 MiB at 9 Mbit/s. A client that does not read is cut off then."""

STREAMS_PER_CONNECTION = 4
"""Streams that a connection may have open at once; what a stranger opens beyond them is reset before any of our code
sees it. A client has one on each, and another for a moment where it dials again."""

METHOD = "/splitfed.v1.Split/Stream"

_ONLY_UNCOMPRESSED = 1  # a set of bits, the lowest of which stands for "identity"


@dataclass(frozen=True)
class Keepalive:
    """How soon a peer that is frozen is noticed: ``after_s`` + ``answer_s`` after its last sign of life.

    Attributes:
        after_s: a peer is asked for a sign of life after so much silence, also while a call is quiet.
        answer_s: a peer that has not answered by then is taken for dead.
    """

    after_s: float = 10.0
    answer_s: float = 5.0

    @property
    def noticed_s(self) -> float:
        """Seconds from a peer's last sign of life until it is taken for dead."""
        return self.after_s + self.answer_s


KEEPALIVE = Keepalive()


def frame_bytes(batch: int, image_bytes: int) -> int:
    """What the frame of a batch takes at most, with so many bytes of activation per image (`Codec.most_bytes`)."""
    return HEAD_BYTES + batch * (image_bytes + LABEL_BYTES)


def largest_batch(image_bytes: int) -> int:
    """How many such images fit into one frame."""
    return (MAX_MESSAGE_BYTES - HEAD_BYTES) // (image_bytes + LABEL_BYTES)


def channel_options(max_message_bytes: int, keepalive: Keepalive) -> list[tuple[str, int]]:
    """gRPC options that both ends share."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes + SLACK_BYTES),
        ("grpc.max_send_message_length", max_message_bytes + SLACK_BYTES),
        ("grpc.compression_enabled_algorithms_bitset", _ONLY_UNCOMPRESSED),  # a small message must not unfold
        ("grpc.keepalive_time_ms", _ms(keepalive.after_s)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.answer_s)),
        # every ping has a limit of its own, 60 s unless said, and the later of both counts
        ("grpc.http2.ping_timeout_ms", _ms(keepalive.answer_s)),
        ("grpc.http2.max_pings_without_data", 0),  # 0: no limit, a slow front may be silent for long
    ]


def server_options(max_message_bytes: int, keepalive: Keepalive, hello_s: float) -> list[tuple[str, int]]:
    """gRPC options of the server: a busy port is an error, frequent signs of life are welcome, silent peers are not."""
    return [
        *channel_options(max_message_bytes, keepalive),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(keepalive.after_s / 2)),
        ("grpc.server_handshake_timeout_ms", _ms(hello_s)),
        ("grpc.max_connection_idle_ms", _ms(hello_s)),
    ]


def client_options(max_message_bytes: int, keepalive: Keepalive) -> list[tuple[str, int]]:
    """gRPC options of a client: a TCP connection of its own, to the address it was given and no proxy."""
    return [
        *channel_options(max_message_bytes, keepalive),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        # despite its name also how long a connection may take to come about, through a frozen relay for instance
        ("grpc.min_reconnect_backoff_ms", _ms(keepalive.noticed_s)),
    ]


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
