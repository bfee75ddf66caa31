"""How large, how long and how often: the limits of the wire, and what they mean to gRPC."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 64 * 2**20
"""The largest frame, and the largest tensor in one: a batch of 64 with 250,000 float32 each."""

HEAD_BYTES, LABEL_BYTES = 128, 3
"""What a frame takes besides its payload, at most: its fields, and each label while there are below 2^21 classes."""

SLACK_BYTES = 2**20
"""How far beyond its limit a frame is still read, so that it can be refused with a reason. gRPC itself cuts off
anything larger, with the status RESOURCE_EXHAUSTED."""

KEEPALIVE_S = 10
"""A peer is asked for a sign of life after so much silence, also while a call is quiet."""

KEEPALIVE_ANSWER_S = 5
"""A peer that has not answered by then is taken for dead; so a frozen one is noticed within 15 s."""

METHOD = "/splitfed.v1.Split/Stream"


def frame_bytes(batch: int, image_bytes: int) -> int:
    """What the frame of a batch takes at most, with so many bytes of activation per image (`Codec.most_bytes`)."""
    return HEAD_BYTES + batch * (image_bytes + LABEL_BYTES)


def largest_batch(image_bytes: int) -> int:
    """How many such images fit into one frame."""
    return (MAX_MESSAGE_BYTES - HEAD_BYTES) // (image_bytes + LABEL_BYTES)


def channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """gRPC options that both ends share."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes + SLACK_BYTES),
        ("grpc.max_send_message_length", max_message_bytes + SLACK_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_S * 1000),
        ("grpc.http2.max_pings_without_data", 0),  # 0: no limit, a slow front may be silent for long
    ]


def server_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """gRPC options of the server: a busy port is an error, and frequent signs of life are welcome."""
    return [
        *channel_options(max_message_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_S * 500),
    ]


def client_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """gRPC options of a client: a TCP connection of its own, to the address it was given and no proxy."""
    return [
        *channel_options(max_message_bytes),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
