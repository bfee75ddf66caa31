"""Events survive the trip through `events.jsonl`, and the bus keeps their order."""

from __future__ import annotations

import io
import threading
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from splitfed.errors import UserError
from splitfed.records import events
from splitfed.records.bus import Bus
from splitfed.records.results import CellResult, Results
from tests.views.fabricated import cell_result, empty_results, not_trained, run_results

COUNTS = st.integers(0, 2**53)
NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=20)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    float: NUMBERS,
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    str: TEXTS,
    float | None: st.none() | NUMBERS,
    str | None: st.none() | TEXTS,
    tuple[int, ...]: st.lists(st.integers(0, 2**31), max_size=4).map(tuple),
    tuple[float | None, ...]: st.lists(st.none() | NUMBERS, max_size=4).map(tuple),
    tuple[events.ClientWire, ...]: st.lists(
        st.builds(events.ClientWire, client=COUNTS, frames=COUNTS, received_bytes=COUNTS, sent_bytes=COUNTS), max_size=2
    ).map(tuple),
    dict[str, int]: st.dictionaries(TEXTS, COUNTS, max_size=2),
    tuple[str, ...]: st.lists(TEXTS, max_size=4).map(tuple),
    events.Level: st.sampled_from(["info", "warning", "banner"]),
    CellResult: st.sampled_from([cell_result("none"), cell_result("sca"), not_trained(cell_result())]),
    Results: st.sampled_from([run_results(), empty_results()]),
}
KINDS = events.Event.__subclasses__()


def any_event(kind: type[events.Event]) -> st.SearchStrategy[events.Event]:
    fields = {name: field.annotation for name, field in kind.model_fields.items() if name != "event"}
    return st.builds(kind, **{name: BY_TYPE[of] for name, of in fields.items()})


@given(st.one_of([any_event(kind) for kind in KINDS]))
@settings(max_examples=150, deadline=None)
def test_every_event_survives_its_line(event: events.Event) -> None:
    line = events.EVENTS.write(event)
    assert line.count(b"\n") == 1
    assert events.EVENTS.read(line) == event


def test_every_event_can_be_read_and_is_told_by_the_name_of_its_class() -> None:
    assert set(typing.get_args(events.AnyEvent)) == set(KINDS)
    assert all(kind.model_fields["event"].default == kind.__name__ for kind in KINDS)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValidationError, match="Nonsense"):
        events.EVENTS.read(b'{"event": "Nonsense", "time_s": 0.0}')


def test_events_carry_the_time_at_which_they_were_made() -> None:
    first, second = events.Notice(message="a"), events.Notice(message="b")
    assert 0 < first.time_s <= second.time_s


def test_the_bus_hands_each_event_to_everyone_in_one_order() -> None:
    early: list[events.Event] = []
    late: list[events.Event] = []
    bus = Bus(early.append)
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


def test_a_subscriber_that_raises_is_dropped_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Torn:
        calls = 0

        def __call__(self, _: events.Event) -> None:
            self.calls += 1
            raise BrokenPipeError(32, "Broken pipe")

    torn, heard = Torn(), list[events.Event]()
    bus = Bus(torn, heard.append)
    for number in range(3):
        bus.emit(events.Notice(message=str(number)))
    assert len(heard) == 3
    assert torn.calls == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "Torn failed at Notice and hears no more of this run, which goes on (BrokenPipeError" in errors


def test_only_the_subscriber_that_raised_is_dropped() -> None:
    class Equal(list[events.Event]):
        """Equal to the other, as lists of the same events are."""

        def __call__(self, event: events.Event) -> None:
            self.append(event)
            if len(self) == 2 and self is fragile:
                raise OSError

    steady, fragile = Equal(), Equal()
    bus = Bus(steady, fragile)
    for number in range(4):
        bus.emit(events.Notice(message=str(number)))
    assert (len(steady), len(fragile)) == (4, 2)


def test_a_bug_in_a_subscriber_is_shown_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def view(event: events.Event) -> None:
        raise KeyError(type(event).__name__)

    Bus(view).emit(events.Notice(message="a"))
    assert "Traceback" in capsys.readouterr().err


def test_a_subscriber_may_fail_where_standard_error_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def view(_: events.Event) -> None:
        raise OSError

    for stream in (None, open_and_closed()):
        monkeypatch.setattr("sys.stderr", stream)
        Bus(view).emit(events.Notice(message="a"))


def open_and_closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def test_ctrl_c_in_a_subscriber_reaches_who_emits() -> None:
    def interrupt(_: events.Event) -> None:
        raise KeyboardInterrupt

    heard: list[events.Event] = []
    bus = Bus(interrupt, heard.append)
    with pytest.raises(KeyboardInterrupt):
        bus.emit(events.Notice(message="a"))
    with pytest.raises(KeyboardInterrupt):  # not dropped, and nothing is held for ever
        bus.emit(events.Notice(message="b"))


def test_what_the_record_raises_reaches_who_emits_before_anyone_is_told() -> None:
    def full(_: events.Event) -> None:
        raise UserError("no space")

    heard: list[events.Event] = []
    bus = Bus(heard.append, record=full)
    for _ in range(2):
        with pytest.raises(UserError, match="no space"):
            bus.emit(events.Notice(message="a"))
    assert heard == []
    recorded: list[events.Event] = []
    bus.keep_record(recorded.append)
    bus.emit(events.Notice(message="b"))
    assert recorded == heard
    assert len(heard) == 1


def test_a_subscriber_may_emit_and_everyone_keeps_the_order() -> None:
    heard: list[str] = []

    def echo(event: events.Event) -> None:
        assert isinstance(event, events.Notice)
        if len(event.message) < 3:
            bus.emit(events.Notice(message=event.message + "!"))

    bus = Bus(echo, lambda event: heard.append(event.message))  # type: ignore[attr-defined]
    emitter = threading.Thread(target=bus.emit, args=(events.Notice(message="a"),), daemon=True)
    emitter.start()
    emitter.join(10)
    assert not emitter.is_alive()
    assert heard == ["a", "a!", "a!!"]
