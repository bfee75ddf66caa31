"""The fenced blocks of all pages that a reader may copy from, and the commands in them."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "server/*.md", "clients/*.md", "attacker/*.md", "splitfed/**/*.md")
    for page in ROOT.glob(pattern)
    if ".venv" not in page.parts
)
SHELL, PYTHON = ("sh", "console"), ("python",)
OTHER = ("toml", "text", "json", "bibtex")
"""Languages of blocks that are no commands: scenarios and project files, output, records."""

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(splitfed [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its file, from the root of the checkout.
        line: of the fence that opens it.
        language: as written behind the fence.
        text: what stands in it.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [Block(name, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _FENCE.finditer(text)]


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in one of these languages; of any without one."""
    return [block for page in PAGES for block in blocks(page) if not languages or block.language in languages]


def commands(block: Block) -> list[tuple[str, ...]]:
    """What a shell block runs, each command as its words; comments are left out, continued lines joined.

    In a console block only what stands behind a prompt is a command.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    words = (tuple(shlex.split(line, comments=True)) for line in lines)
    return [command for command in words if command]


def inline_commands(page: Path) -> list[tuple[str, ...]]:
    """The commands of ours that a page names in running text and tables."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [tuple(shlex.split(found.replace("\\|", "|"))) for found in _INLINE.findall(prose)]


def script_of(name: str) -> ModuleType:
    """The script of this name in docs/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
