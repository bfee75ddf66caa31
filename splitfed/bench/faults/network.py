"""What the network does to the bytes of a client: a mischief of each kind, for its proxy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from splitfed.bench.faults.proxy import ChaosProxy, Line, Mischief
from splitfed.wire.backlog import Direction

STREAM_DEADLINE_S = 0.8
"""How long a client waits for an answer; beyond that it dials again, which costs it nothing."""
STALL_S, BEYOND_S, DELAY_S = 0.15, 1.4 * STREAM_DEADLINE_S, 0.004
REFUSALS = 2
TENSOR_BYTES = 300
"""Chunks beyond this carry a tensor, and hold it in their middle: a batch has 32 × 16 float32."""
PIECE_BYTES = 7

UP, DOWN = Direction.TO_SERVER, Direction.TO_CLIENT
Build = Callable[[ChaosProxy, random.Random], Mischief]


def _cut_before(proxy: ChaosProxy, _: random.Random) -> Mischief:
    def act(line: Line, direction: Direction, data: bytes) -> bytes | None:
        if direction is not UP:
            return data
        proxy.disarm()
        line.cut()
        return None

    return act


def _cut_before_the_answer(proxy: ChaosProxy, _: random.Random) -> Mischief:
    asked: set[Line] = set()

    def act(line: Line, direction: Direction, data: bytes) -> bytes | None:
        if direction is UP:
            asked.add(line)
        elif line in asked:
            proxy.disarm()
            line.cut()
            return None
        return data

    return act


def _half_closed(way: Direction) -> Build:
    def build(proxy: ChaosProxy, _: random.Random) -> Mischief:
        def act(line: Line, direction: Direction, data: bytes) -> bytes | None:
            if direction is way:
                proxy.disarm()
                if way is UP:
                    line.send(way, data)
                line.half_close(way)
                return None
            return data

        return act

    return build


def _stalls(seconds: float) -> Build:
    def build(proxy: ChaosProxy, _: random.Random) -> Mischief:
        def act(line: Line, direction: Direction, data: bytes) -> bytes:  # noqa: ARG001
            if direction is UP:
                proxy.disarm()
                time.sleep(seconds)  # and then goes on, also where nobody waits any more
            return data

        return act

    return build


def _for_the_line(change: Mischief) -> Build:
    """As long as this connection lasts; one that comes after it is left alone."""

    def build(proxy: ChaosProxy, _: random.Random) -> Mischief:
        def act(line: Line, direction: Direction, data: bytes) -> bytes:  # noqa: ARG001
            proxy.disarm()
            line.change = change  # from these bytes on
            return data

        return act

    return build


def _trickle(line: Line, direction: Direction, data: bytes) -> None:
    for start in range(0, len(data), PIECE_BYTES):
        line.send(direction, data[start : start + PIECE_BYTES])


def _delay(line: Line, direction: Direction, data: bytes) -> bytes:  # noqa: ARG001
    time.sleep(DELAY_S)
    return data


def _refuses(proxy: ChaosProxy, draws: random.Random) -> Mischief:
    cut = _cut_before(proxy, draws)

    def act(line: Line, direction: Direction, data: bytes) -> bytes | None:
        if direction is UP:
            proxy.refusing = REFUSALS
        return cut(line, direction, data)

    return act


def _in_the_tensor(way: Direction, change: Callable[[bytes, int, random.Random], bytes]) -> Build:
    def build(proxy: ChaosProxy, draws: random.Random) -> Mischief:
        def act(line: Line, direction: Direction, data: bytes) -> bytes:  # noqa: ARG001
            if direction is not way or len(data) < TENSOR_BYTES:
                return data
            proxy.disarm()
            return change(data, draws.randrange(len(data) // 2, len(data) * 3 // 4), draws)

        return act

    return build


def _flip(data: bytes, at: int, draws: random.Random) -> bytes:
    return data[:at] + bytes((data[at] ^ 1 << draws.randrange(8),)) + data[at + 1 :]


def _drop(data: bytes, at: int, _: random.Random) -> bytes:
    return data[:at] + data[at + 1 :]


def _repeat(data: bytes, at: int, _: random.Random) -> bytes:
    return data[: at + 1] + data[at:]


def _flips_any(proxy: ChaosProxy, draws: random.Random) -> Mischief:
    """Anywhere in the first messages: in what opens the connection, in the proof, in the Hello, in an answer."""
    way, passes = draws.choice((UP, DOWN)), draws.randrange(2)
    seen = 0

    def act(line: Line, direction: Direction, data: bytes) -> bytes:  # noqa: ARG001
        nonlocal seen
        if direction is way:
            seen += 1
            if seen > passes:
                proxy.disarm()
                return _flip(data, draws.randrange(len(data)), draws)
        return data

    return act


MISCHIEFS: dict[str, Build] = {
    "network cut before": _cut_before,
    "network cut before the answer": _cut_before_the_answer,
    "network cut at the dial": _cut_before,
    "network half closed to the server": _half_closed(UP),
    "network half closed to the client": _half_closed(DOWN),
    "network stalls": _stalls(STALL_S),
    "network stalls beyond the deadline": _stalls(BEYOND_S),
    "network trickles": _for_the_line(_trickle),
    "network delays": _for_the_line(_delay),
    "network refuses for a while": _refuses,
    "network flips a bit of an activation": _in_the_tensor(UP, _flip),
    "network flips a bit of a gradient": _in_the_tensor(DOWN, _flip),
    "network drops a byte": _in_the_tensor(UP, _drop),
    "network repeats a byte": _in_the_tensor(UP, _repeat),
    "network flips any bit": _flips_any,
}


def do(name: str, proxy: ChaosProxy, draws: random.Random) -> None:
    """Have the proxy do this to what passes next."""
    if name == "network is parted":
        proxy.part()
    elif name == "network silent at the dial":
        proxy.silent = 1
    else:
        proxy.arm(MISCHIEFS[name](proxy, draws))


NAMES = (*MISCHIEFS, "network is parted", "network silent at the dial")
"""All kinds that a proxy can do."""
