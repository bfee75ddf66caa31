"""Events survive the trip through `events.jsonl`, and the bus keeps their order."""

from __future__ import annotations

import dataclasses
import json
import threading
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitfed import events

NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=20)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    float: NUMBERS,
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    str: TEXTS,
    float | None: st.none() | NUMBERS,
    str | None: st.none() | TEXTS,
    tuple[str, ...]: st.lists(TEXTS, max_size=4).map(tuple),
    dict[str, Any]: st.dictionaries(TEXTS, st.lists(NUMBERS, max_size=2) | NUMBERS | TEXTS, max_size=3),
}


def any_event(kind: type[events.Event]) -> st.SearchStrategy[events.Event]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{f.name: BY_TYPE[hints[f.name]] for f in dataclasses.fields(kind)})


ALL_EVENTS = st.one_of([any_event(kind) for kind in events.Event.__subclasses__()])


@given(ALL_EVENTS)
@settings(max_examples=150, deadline=None)
def test_every_event_survives_json(event: events.Event) -> None:
    assert events.from_json(json.loads(json.dumps(events.to_json(event)))) == event


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(KeyError, match="Nonsense"):
        events.from_json({"event": "Nonsense", "time_s": 0.0})


def test_events_carry_the_time_at_which_they_were_made() -> None:
    first, second = events.Notice(message="a"), events.Notice(message="b")
    assert 0 < first.time_s <= second.time_s


def test_the_bus_hands_each_event_to_everyone_in_one_order() -> None:
    early: list[events.Event] = []
    late: list[events.Event] = []
    bus = events.Bus(early.append)
    bus.subscribe(late.append)

    def emit(writer: int) -> None:
        for number in range(50):
            bus.emit(events.Notice(message=f"{writer}-{number}"))

    writers = [threading.Thread(target=emit, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(early) == 200
    assert early == late
