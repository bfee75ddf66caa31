"""Every other block of the documentation works as printed, and no block is left out of the tests."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import splitfed
from tests.docs.blocks import OTHER, PYTHON, ROOT, SHELL, Block, all_blocks, blocks
from tests.docs.test_commands import DIGITS, SMALL, SMALL_COMPONENTS

PLUGIN_PAGES = ("docs/add_a_defense.md", "docs/add_an_attack.md", "docs/add_a_dataset.md", "docs/plug_and_play.md")
"""Their listings belong together: each page's own test puts them into files and runs them."""
TOML_BLOCKS = [block for block in all_blocks("toml") if block.page not in PLUGIN_PAGES]
PYTHON_BLOCKS = [block for block in all_blocks(*PYTHON) if block.page not in PLUGIN_PAGES]


@pytest.mark.parametrize("block", all_blocks(), ids=lambda block: block.place)
def test_every_block_says_what_it_is(block: Block) -> None:
    assert block.language in (*SHELL, *PYTHON, *OTHER), f"{block.place}: name its language, so that it is tested"


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=lambda block: block.place)
def test_python_runs(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load = splitfed.load
    monkeypatch.setattr(
        splitfed,
        "load",
        lambda name, *, overrides=(), quick=False: load(
            name, overrides=[*SMALL_COMPONENTS, *overrides, *DIGITS, *SMALL], quick=quick
        ),
        raising=False,
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})
    assert _headers(capsys.readouterr().out) >= _headers(_output(block))


def _output(block: Block) -> str:
    """What the page says that this block prints: the block of text that follows it, if one does."""
    listed = blocks(ROOT / block.page)
    following = listed[listed.index(block) + 1 :][:1]
    return following[0].text if following and following[0].language == "text" else ""


def _headers(printed: str) -> set[str]:
    """The first lines of the tables in it: what stands below depends on the machine and the images."""
    lines = printed.splitlines()
    return {line for line, rule in pairwise(lines) if rule.startswith("|---")}


@pytest.mark.parametrize("block", TOML_BLOCKS, ids=lambda block: block.place)
def test_a_scenario_is_one(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(block.text, encoding="utf-8")
    assert splitfed.load(file).cells()
