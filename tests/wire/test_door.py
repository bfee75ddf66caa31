"""One place per client, for its newest stream; one that another has displaced does not come back."""

from __future__ import annotations

import pytest

from splitfed.errors import Refused
from splitfed.wire.door import Door
from splitfed.wire.proof import Claim, Metadata, client_token, prove
from splitfed.wire.reconnecting_stream import SilentAddresses
from tests.wire.hosts import RUN, SECRET


class Visitor:
    """A stream that wants in, and notes that it was ended."""

    def __init__(self, client: int, stream: bytes, number: int) -> None:
        self.canceled = False
        self._proof = prove(Claim(RUN, client, stream, number), client_token(SECRET, client))

    def invocation_metadata(self) -> Metadata:
        return self._proof

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def cancel(self) -> None:
        self.canceled = True


def test_a_stream_that_was_displaced_does_not_displace_in_its_turn() -> None:
    """What a client was given up at in round 1 redials, while its round 2 is under way."""
    door = Door(SECRET, places=4)
    late, newer, again = Visitor(0, b"late", 1), Visitor(0, b"newer", 2), Visitor(0, b"late", 3)
    with door.admitted(late), door.admitted(newer) as claim:
        assert late.canceled
        door.accepted(claim)
        with pytest.raises(Refused, match="another stream of yours has taken the place"), door.admitted(again):
            pytest.fail("it was let in")
        assert not newer.canceled


def test_a_stream_whose_hello_was_refused_shuts_nobody_out() -> None:
    """Somebody has the client's token, and names another run."""
    door = Door(SECRET, places=4)
    honest, stranger, again = Visitor(0, b"honest", 1), Visitor(0, b"stranger", 2), Visitor(0, b"honest", 3)
    with door.admitted(honest), door.admitted(stranger), door.admitted(again) as claim:
        door.accepted(claim)
        assert stranger.canceled
        with (
            pytest.raises(Refused, match="has taken the place"),
            door.admitted(Visitor(0, b"stranger", 4)),
        ):
            pytest.fail("it was let in")


def test_a_stream_that_goes_on_takes_its_own_place_again_and_again() -> None:
    door = Door(SECRET, places=1)
    for number in range(1, 6):
        with door.admitted(Visitor(0, b"one", number)):
            pass
    first, second = Visitor(0, b"one", 6), Visitor(0, b"one", 7)
    with door.admitted(first), door.admitted(second):
        assert first.canceled


def test_what_an_older_round_says_of_an_address_counts_no_more() -> None:
    silent = SilentAddresses()
    silent.add("relay:1", 2)
    silent.add("other:1", 1)
    assert silent.without(["relay:1", "other:1", "server:1"], 2) == ("other:1", "server:1")
