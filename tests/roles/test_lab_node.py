"""What the server tells the lab arrives once, in order, each line with its files."""

from __future__ import annotations

from flwr.app import ConfigRecord, Message, RecordDict

from splitfed.records.events import EVENTS, Notice
from splitfed.roles.lab_node import LabNode
from splitfed.roles.lab_protocol import KEY, NEWS, NUMBER, RESULT, TELL, Happened, Over, Trained
from splitfed.roles.membership import Membership
from splitfed.roles.parcel import pack
from splitfed.runners.local_grid import LocalGrid

ORDER = "0123456789abcdef"


def told(grid: LocalGrid, lines: list[str], files: dict[str, bytes], heard: int = 0) -> Message:
    content = pack(lines, files)
    content["config"] = ConfigRecord({KEY: ORDER, NUMBER: heard})
    (reply,) = grid.send_and_receive([Message(content, 1, TELL)], timeout=10)
    return reply


def test_a_line_has_its_files_wherever_it_stands_in_the_message() -> None:
    lab = LabNode(Membership("127.0.0.1:1"))
    lab.begin(ORDER)
    news = [Happened(event=EVENTS.write(Notice(message="a")).decode()), Trained(), Over()]
    lines = [NEWS.write(each).decode() for each in news]
    with LocalGrid(lab.app, 1) as grid:
        assert not told(grid, lines[:2], {RESULT: b"weights"}).has_error()
        assert not told(grid, lines, {}).has_error()  # the answer was lost, so that all is told again
    heard = [each for _ in range(4) if (each := lab.next(0.01)) is not None]
    assert [type(each.news) for each in heard] == [Happened, Trained, Over]
    assert heard[1].files[RESULT] == b"weights"


def test_a_server_without_the_orders_key_is_not_heard() -> None:
    lab = LabNode(Membership("127.0.0.1:1"))
    lab.begin(ORDER)
    content = pack([NEWS.write(Over()).decode()], {})
    content["config"] = ConfigRecord({KEY: "another", NUMBER: 0})
    with LocalGrid(lab.app, 1) as grid:
        (reply,) = grid.send_and_receive([Message(content, 1, TELL)], timeout=10)
    assert reply.has_error()
    assert lab.next(0.01) is None


def test_the_lab_says_its_role_and_key() -> None:
    lab = LabNode(Membership("127.0.0.1:1"))
    lab.begin(ORDER)
    with LocalGrid(lab.app, 1) as grid:
        (reply,) = grid.send_and_receive([Message(RecordDict({}), 1, "query.join")], timeout=10)
    assert (reply.content.config_records["who"]["role"], reply.content.config_records["who"]["key"]) == ("lab", ORDER)
