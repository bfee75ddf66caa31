"""The role by itself on a small world: knowledge that fits, a file of settings, a real process."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from splitfed import defenses
from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacker.knowledge_files import save_auxiliary
from splitfed.attacker.protocol import Final, front_path
from splitfed.models.front import Front, FrontSpec
from splitfed.runners import child
from splitfed.types import Images, ImageShape, Observation, Phase
from splitfed.wire.observations import ObservationWriter

SHAPE = ImageShape(1, 8, 8)
WIDTH = 16
DEADLINE_S = 60.0
SLOW = ComponentConfig(name="decoder", options={"hidden": 1024, "blocks": 8, "max_epochs": 10**6})
"""An attack that is not done before a test is."""


def images(number: int = 40) -> Images:
    pixels = torch.rand(number, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Images(pixels, torch.arange(number) % 2, ("even", "odd"))


def front() -> Front:
    return defenses.build("none", {}).build_front(FrontSpec(SHAPE, WIDTH), torch.Generator().manual_seed(0))


def config(folder: Path, *, attacks: Sequence[ComponentConfig] = (ComponentConfig(name="ridge"),)) -> AttackerConfig:
    return AttackerConfig(
        upstream="127.0.0.1:1",
        knowledge=folder / "knowledge",
        observations=folder / "observations",
        out=folder / "out",
        shape=SHAPE,
        width=WIDTH,
        defense=ComponentConfig(name="none"),
        attacks=tuple(attacks),
    )


def prepare(
    folder: Path, *, attacks: Sequence[ComponentConfig] = (ComponentConfig(name="ridge"),), number: int = 400
) -> AttackerConfig:
    """Settings, so many auxiliary images and the front of round 1; training goes on."""
    settings = config(folder, attacks=attacks)
    save_auxiliary(settings.knowledge, images(number))
    front_path(settings.knowledge, 1).parent.mkdir()
    torch.save(front().state_dict(), front_path(settings.knowledge, 1))
    return settings


def observe(settings: AttackerConfig, rows: int = 64) -> None:
    """What the tap would have recorded of the final front."""
    pixels = images(rows).pixels
    with torch.no_grad():
        activation = front()(pixels)
    writer = ObservationWriter(settings.observations)
    writer(Observation("run", 1, 0, Phase.AUDIT, 0, activation, labels=None))
    writer.close()


def finish(settings: AttackerConfig) -> None:
    """Training is over; what was not observed by now is not waited for."""
    Final(round=1, rows=0).save(settings.knowledge)


class Role:
    """`splitfed attacker --config FILE`; a context manager that leaves no process behind."""

    def __init__(
        self, settings: AttackerConfig, *arguments: str, stdin: Any = subprocess.DEVNULL, through: Sequence[str] = ()
    ) -> None:
        file = settings.knowledge.parent / "attacker.json"
        file.write_text(settings.model_dump_json(), encoding="utf-8")
        command = child.arguments("attacker", "--config", str(file), *arguments)
        self.process = subprocess.Popen(
            [*through, sys.executable, *command],
            env={**child.environment(), "OMP_NUM_THREADS": "1"},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Role:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def hear(self, kind: type[protocol.Message]) -> protocol.Message:
        """Its next message of this kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = protocol.MESSAGES.read(line)
            if isinstance(message, kind):
                return message
        assert self.process.stderr is not None
        raise AssertionError(f"it ended: {self.process.stderr.read()}")

    def end(self, within_s: float = DEADLINE_S) -> tuple[int, list[protocol.Message], str]:
        """Its exit code, the messages that were left, and what it wrote to its standard error."""
        output, errors = self.process.communicate(timeout=within_s)
        return self.process.returncode, [protocol.MESSAGES.read(line) for line in output.splitlines()], errors


def has_ended(pid: int, within_s: float) -> bool:
    """Whether this process, which need not be a child, ends within this time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(descriptor) as file:
        return bool(select.select([file], [], [], within_s)[0])
