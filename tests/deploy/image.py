"""What the Dockerfile says of every container: its environment, its user, its folders, its command."""

from __future__ import annotations

import json
import re
import shlex
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a base image sets."""


@dataclass
class Image:
    """The last stage of a Dockerfile, with what it has from the stages below it.

    Attributes:
        folders: those that are made.
        own: those that are given to a user, with all that is in them.
        steps: modules of ours that are run when it is built, as its user; what they leave in its home is part of it.
        volumes: where each container gets a volume of its own, unless it is given another.
    """

    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "root"
    uid: int = 0
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    folders: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    steps: list[tuple[str, ...]] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def owns(self, folder: str) -> bool:
        """Whether this folder is given to the user."""
        path = PurePosixPath(folder)
        return any(path.is_relative_to(each) for each in self.own)


def image(dockerfile: Path) -> Image:
    """Read a Dockerfile. Of what it runs users, folders and our modules count: packages are this environment's own."""
    stages: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in _instructions(dockerfile.read_text(encoding="utf-8")):
        if word == "FROM":
            below, _, name = rest.partition(" AS ")
            stages[name] = list(stages.get(below, []))
        else:
            stages.setdefault(name, []).append((word, rest))
    made = Image()
    for word, rest in stages[name]:
        _take(made, word, rest)
    return made


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each as its first word and the rest; lines that go on are joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word, rest.strip()


def _take(made: Image, word: str, rest: str) -> None:
    if word == "ENV":
        for pair in shlex.split(rest):
            key, _, value = pair.partition("=")
            made.environment[key] = string.Template(value).safe_substitute(made.environment)
    elif word == "USER":
        made.user = rest
    elif word == "WORKDIR":
        made.workdir = rest
    elif word == "ENTRYPOINT":
        made.entrypoint = tuple(json.loads(rest))
    elif word == "CMD":
        made.command = tuple(json.loads(rest))
    elif word == "VOLUME":
        made.volumes += json.loads(rest)
    elif word == "RUN":
        _run(made, rest)


def _run(made: Image, rest: str) -> None:
    """Take folders, whom they belong to, and our modules, from commands as the Dockerfile writes them."""
    for step in rest.split("&&"):
        words = step.split()
        if words[:2] == ["mkdir", "-p"]:
            made.folders += words[2:]
        elif words[:2] == ["chown", "-R"]:
            made.own += words[3:]
        elif words[:2] == ["python", "-m"] and words[2].startswith("splitfed."):
            made.steps.append(tuple(words))
        elif words[:1] == ["useradd"] and (found := re.search(r"--uid (\d+)", step)):
            made.uid = int(found[1])
