"""Links of the pages outside the site lead somewhere; those within it are checked where `make lint` builds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT

OUTSIDE = [page for page in PAGES if not page.is_relative_to(ROOT / "docs")]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"`((?:splitfed|tests|docs|scenarios|protos|attacker)/[\w./]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by, on the site and on code hosts alike."""
    found = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in found}


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    for named in _FILE.findall(page.read_text(encoding="utf-8")):
        assert "NAME" in named or (ROOT / named).exists(), named


def test_some_links_are_checked() -> None:
    assert ROOT / "README.md" in OUTSIDE
    assert "2-layout" in anchors(ROOT / "docs" / "design.md")
