"""What crosses the wire is told by client, and not too often."""

from __future__ import annotations

from splitfed.federation.wire_meter import WireMeter
from splitfed.records.events import ClientWire, Event, WireCounted
from splitfed.wire.traffic import ServerTraffic


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_is_told_at_most_once_a_second() -> None:
    told: list[Event] = []
    traffic, clock = ServerTraffic(), Clock()
    meter = WireMeter("none", traffic, sealed=True, tell=told.append, clock=clock)
    meter.begin(1)
    traffic.count_of(2, frames=1, received_bytes=10)
    traffic.count_of(0, frames=2, received_bytes=30, sent_bytes=5)
    traffic.count(streams=1)
    traffic.refuse("BAD_TOKEN")
    for _ in range(20):
        meter.tick()
        clock.now_s += 0.25
    assert len(told) == 5
    (first, *_) = told
    assert isinstance(first, WireCounted)
    assert first.clients == (
        ClientWire(client=0, frames=2, received_bytes=30, sent_bytes=5),
        ClientWire(client=2, frames=1, received_bytes=10, sent_bytes=0),
    )
    assert (first.round, first.refused, first.lost, first.sealed) == (1, {"BAD_TOKEN": 1}, (), True)


def test_who_is_lost_is_so_until_the_next_round() -> None:
    told: list[WireCounted] = []

    def tell(event: Event) -> None:
        assert isinstance(event, WireCounted)
        told.append(event)

    meter = WireMeter("none", ServerTraffic(), sealed=False, tell=tell)
    for round_number in (1, 2):
        meter.begin(round_number)
        if round_number == 1:
            meter.lose(1)
        meter.say()
    assert [(event.round, event.lost) for event in told] == [(1, (1,)), (2, ())]
