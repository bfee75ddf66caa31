"""The settings of the site refuse links that lead nowhere, and every page is in its navigation.

`make lint` builds the site itself; never with `--quiet`, under which mkdocs counts no warnings.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.blocks import ROOT

SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def _build(folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    """A site of two pages under our settings of what is refused."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(f"# One\n\n{page}\n", encoding="utf-8")
    (folder / "docs" / "other.md").write_text("# Other\n\n## A part\n", encoding="utf-8")
    settings = {"site_name": "two pages", "strict": SETTINGS["strict"], "validation": SETTINGS["validation"]}
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("link", ["nowhere.md", "other.md#no-such-part", "#no-such-part", "../README.md"])
def test_a_link_that_leads_nowhere_ends_the_build(link: str, tmp_path: Path) -> None:
    assert _build(tmp_path, f"[there]({link})").returncode == 1


def test_one_that_leads_somewhere_does_not(tmp_path: Path) -> None:
    built = _build(tmp_path, "[there](other.md#a-part)")
    assert built.returncode == 0, built.stderr


def test_nothing_is_fetched_from_third_parties() -> None:
    assert SETTINGS["theme"]["font"] is False


def test_every_page_is_in_the_navigation() -> None:
    def listed(entry: Any) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        return {page for part in (entry.values() if isinstance(entry, dict) else entry) for page in listed(part)}

    assert listed(SETTINGS["nav"]) == {
        page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")
    }
