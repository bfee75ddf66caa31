"""What the tap makes of one stream, word by word: an activation counts once it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from splitfed.errors import WireError
from splitfed.types import Observation
from splitfed.wire.checks import StreamRules
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import (
    accept_frame,
    done_frame,
    finished_frame,
    forward_frame,
    gradient_frame,
    hello_frame,
    refusal_frame,
    seal,
)
from splitfed.wire.tapped import NoRoom, Room, TappedStream
from tests.wire.hosts import CLASSES, WIDTH, hello

HELLO = hello_frame(hello(), b"mine")
REFUSAL = refusal_frame("OUT_OF_ORDER", "no")
FORWARD_BYTES = 100


def forward(step: int, width: int = WIDTH, label: int = 0) -> bytes:
    tensor = torch.full((2, width), float(step))
    return forward_frame(step, CODECS["float32"].encode(tensor), torch.tensor([0, label]))


def gradient(step: int) -> bytes:
    return gradient_frame(step, 0.5, 1, None)


@dataclass
class Heard:
    """A stream under the tap, and the steps that it has emitted."""

    room_bytes: int = 10_000
    steps: list[int] = field(default_factory=list)
    ignored: int = 0

    def __post_init__(self) -> None:
        self.room = Room(self.room_bytes)
        self.stream = TappedStream(StreamRules(CLASSES), self.room, self._emit)

    def _emit(self, observation: Observation) -> None:
        assert torch.equal(observation.activation, torch.full((2, WIDTH), float(observation.step)))
        self.steps.append(observation.step)

    def says(self, *questions: bytes) -> Heard:
        for question in questions:
            try:
                self.stream.question(question)
            except WireError:
                self.ignored += 1
        return self

    def hears(self, *answers: bytes) -> Heard:
        for answer in answers:
            try:
                self.stream.answer(answer)
            except WireError:
                self.ignored += 1
        return self

    def ends(self) -> Heard:
        self.stream.end()
        self.room.take(self.room_bytes)  # nothing waits any more
        return self


def test_an_activation_waits_for_its_answer() -> None:
    heard = Heard().says(HELLO).hears(accept_frame(0)).says(forward(0))
    assert heard.steps == []
    assert heard.hears(gradient(0)).steps == [0]
    assert heard.says(done_frame(1, 2)).hears(finished_frame(1, 2)).ends().steps == [0]


def test_what_is_refused_is_dropped_with_all_that_follows() -> None:
    heard = Heard().says(HELLO).hears(accept_frame(0)).says(forward(0), forward(1), forward(2))
    assert heard.hears(gradient(0), REFUSAL).says(forward(3)).ends().steps == [0]


def test_a_stream_that_ends_without_an_answer_has_been_seen() -> None:
    heard = Heard().says(HELLO).hears(accept_frame(0)).says(forward(0), forward(1))
    assert heard.hears(gradient(0)).ends().steps == [0, 1]


def test_what_comes_before_accept_waits_for_it() -> None:
    heard = Heard().says(HELLO, forward(0), forward(1))
    assert heard.hears(accept_frame(0), gradient(0)).steps == [0]
    assert heard.hears(gradient(1)).ends().steps == [0, 1]


@pytest.mark.parametrize("answers", [[], [REFUSAL]], ids=["nothing", "a refusal"])
def test_a_stream_that_was_not_accepted_is_not_observed(answers: list[bytes]) -> None:
    assert Heard().says(HELLO, forward(0)).hears(*answers).ends().steps == []


@pytest.mark.parametrize(
    "bad",
    [
        forward(1, width=WIDTH + 1),
        forward(1, label=CLASSES),
        forward(5),
        forward_frame(1, CODECS["int8"].encode(torch.ones(2, WIDTH)), torch.tensor([0, 0])),
        forward_frame(1, CODECS["float32"].encode(torch.full((2, WIDTH), torch.nan)), torch.tensor([0, 0])),
        forward_frame(1, CODECS["float32"].encode(torch.ones(2, WIDTH)), torch.tensor([0, 0, 0])),
        HELLO,
        seal(b"\xff"),
        forward(1)[:-1],
    ],
    ids=["width", "label", "step", "codec", "NaN", "labels", "second hello", "garbage", "damaged"],
)
@pytest.mark.parametrize("early", [False, True], ids=["after Accept", "before Accept"])
def test_what_the_server_will_not_take_is_never_emitted_nor_what_follows(bad: bytes, early: bool) -> None:
    questions = [forward(0), bad, forward(1)]
    if early:
        heard = Heard().says(HELLO, *questions).hears(accept_frame(0))
    else:
        heard = Heard().says(HELLO).hears(accept_frame(0)).says(*questions)
    assert heard.ends().steps == [0]
    assert heard.ignored >= 1


def test_a_stream_goes_on_at_the_step_that_was_accepted_or_the_one_before() -> None:
    for first in (3, 4):
        heard = Heard().says(HELLO).hears(accept_frame(4)).says(forward(first), forward(first + 1))
        assert heard.hears(gradient(first), gradient(first + 1)).steps == [first, first + 1]
    assert Heard().says(HELLO).hears(accept_frame(4)).says(forward(2)).ends().steps == []


def test_nothing_follows_done() -> None:
    heard = Heard().says(HELLO).hears(accept_frame(0)).says(forward(0), done_frame(1, 2), forward(1))
    assert heard.ends().steps == [0]


@pytest.mark.parametrize("early", [False, True], ids=["after Accept", "before Accept"])
def test_what_waits_is_bounded(early: bool) -> None:
    heard = Heard(room_bytes=2 * FORWARD_BYTES)
    accept, questions = [accept_frame(0)], [forward(0), forward(1)]
    heard.says(HELLO).hears(*([] if early else accept)).says(*questions)
    assert 2 * FORWARD_BYTES >= sum(map(len, questions)) > FORWARD_BYTES
    for step in (2, 3):
        with pytest.raises(NoRoom):
            heard.stream.question(forward(step))
    heard.hears(*(accept if early else []), gradient(0), gradient(1))
    assert heard.ends().steps == [0, 1]
