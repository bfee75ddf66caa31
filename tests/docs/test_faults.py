"""The table of faults names tests that exist, in the files that it names."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.docs.blocks import ROOT

_FILE = re.compile(r"[\w/]*test_\w+\.py")
_NAME = re.compile(r"(?:\.\.\.|test_)_?([a-z0-9_]*)(?:\.\.\.)?(?:\[([a-z ]+)\])?")


def _named() -> list[tuple[str, str, str]]:
    """Each test as (file, part of its name, case): a name belongs to the file named last before it, in its row."""
    found = []
    for row in (ROOT / "docs/faults.md").read_text(encoding="utf-8").splitlines():
        file = ""
        for word in re.findall(r"`([^`]+)`", row):
            if _FILE.fullmatch(word):
                file = word
                found.append((file, "", ""))
            elif name := _NAME.fullmatch(word):
                found.append((file, name[1], name[2] or ""))
    return sorted(set(found))


NAMED = _named()


@cache
def _source(file: str) -> str:
    """The text of this file under tests/; of all of them where a row names none."""
    tests = ROOT / "tests"
    paths = [tests / file] if file else sorted(tests.rglob("test_*.py"))
    return "".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize(("file", "name", "case"), NAMED, ids=["/".join(filter(None, each)) for each in NAMED])
def test_the_test_behind_a_fault_exists(file: str, name: str, case: str) -> None:
    assert re.search(rf"def test_\w*{name}", _source(file))
    assert f'"{case}"' in _source(file) or not case


def test_some_are_named() -> None:
    assert len(NAMED) > 40
