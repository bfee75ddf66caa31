"""The table of faults names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = sorted(
    set(
        re.findall(
            r"`(?:\.\.\.|test_)_?([a-z0-9_]*)(?:\.\.\.)?(?:\[([a-z ]+)\])?`", (ROOT / "docs/faults.md").read_text()
        )
    )
)
SOURCES = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize(("name", "case"), NAMED, ids=["/".join(filter(None, each)) for each in NAMED])
def test_the_test_behind_a_fault_exists(name: str, case: str) -> None:
    assert re.search(rf"def test_\w*{name}", SOURCES)
    assert f'"{case}"' in SOURCES or not case


def test_some_are_named() -> None:
    assert len(NAMED) > 20
