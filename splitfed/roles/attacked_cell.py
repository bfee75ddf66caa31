"""One cell at the attacker's: what it taps of it, what it was handed, and what it has to say."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.knowledge_files import load_auxiliary
from splitfed.attacker.protocol import AUXILIARY, FRONTS, MESSAGES, Final, Message, forget_fronts, front_path
from splitfed.attacker.work import Attacker, StoppedEarly
from splitfed.errors import UserError
from splitfed.federation.job import Job
from splitfed.files import make_private, write_whole
from splitfed.metrics.predictors import class_means
from splitfed.models.front import Front
from splitfed.roles.attacker_journal import AttackerJournal
from splitfed.roles.lab_protocol import ATTACK, OBSERVATIONS
from splitfed.roles.scoring_protocol import SharedAuxiliary
from splitfed.types import Observation
from splitfed.wire.observations import ObservationWriter
from splitfed.wire.tap import Tap

logger = logging.getLogger(__name__)

STOP_S = 8.0
"""How long the work under way may take to come to a point where it can stop."""


class AttackedCell:
    """Records and attacks one cell, from its first front to its end.

    Args:
        job: the cell.
        folder: for this cell alone; what lies there is removed.
        config: what the attacker is told, with its folders in `folder`.
        tap: where observations come from.
    """

    def __init__(self, job: Job, folder: Path, config: AttackerConfig, tap: Tap) -> None:
        self.run = job.run
        self._config = config
        shutil.rmtree(folder, ignore_errors=True)
        make_private(folder)
        self._journal = AttackerJournal(folder, job)
        (config.knowledge / FRONTS).mkdir(parents=True)
        self._write = ObservationWriter(config.observations, keep_rounds=config.keep_rounds or None)
        self._unread_before = tap.unparsed
        self._tap = tap
        self._said: list[tuple[str, dict[str, bytes]]] = []
        self._lock = threading.Lock()
        self._asked_to_stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, save_auxiliary: Callable[[Path], None]) -> None:
        """Begin to learn.

        Args:
            save_auxiliary: puts the attacker's own images into the folder that it is given.

        Raises:
            UserError: settings or images that do not fit.
        """
        save_auxiliary(self._config.knowledge)
        self._thread = threading.Thread(target=self._work, daemon=True, name="attack")
        self._thread.start()

    def observe(self, observation: Observation) -> None:
        """The tap has seen this."""
        self._write(observation)

    def learn_of_front(self, round_number: int, front: Front) -> None:
        """The front that every participant gets at the start of this round."""
        content = BytesIO()
        torch.save(front.state_dict(), content)
        write_whole(front_path(self._config.knowledge, round_number), content.getvalue())
        if self._config.keep_rounds:
            forget_fronts(self._config.knowledge, before=round_number - self._config.keep_rounds)

    def shared_auxiliary(self) -> SharedAuxiliary:
        """What it shows of its own images to who scores baselines, and looks for an overlap.

        Raises:
            DataError: they cannot be read.
        """
        own = load_auxiliary(self._config.knowledge, self._config.image_shape)
        hashes = np.frombuffer(b"".join(own.content_hashes()), np.uint8).reshape(len(own), -1)
        return SharedAuxiliary(hashes, own.pixels.mean(dim=0), class_means(own), own.classes)

    def finish(self, final: Final) -> None:
        """Training is over."""
        final.save(self._config.knowledge)

    def news(self, after: int) -> list[tuple[str, dict[str, bytes]]]:
        """What it has to say after so many lines, with the files to each; what was heard is kept no more."""
        with self._lock:
            self._said[:after] = [("", {})] * min(after, len(self._said))
            return self._said[after:]

    def stop(self) -> None:
        """Leave the work."""
        self._asked_to_stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
        self._write.close()
        self._journal.close()

    def _work(self) -> None:
        # a thread of its own for each cell: PyTorch keeps settings by thread
        try:
            Attacker(self._config, self._tap, self._say, self._asked_to_stop).run()
        except StoppedEarly:
            logger.info("%s: the attack was stopped", self.run)
        except UserError as error:
            self._say(protocol.Warned(message=f"the attack ended: {error}"))
        except Exception as error:
            logger.exception("%s: the attack failed", self.run)
            self._say(protocol.Warned(message=f"the attack failed: {type(error).__name__}: {error}"))

    def _say(self, message: Message) -> None:
        if isinstance(message, protocol.Done):
            message = message.model_copy(update={"unparsed": message.unparsed - self._unread_before})
        self._journal.hear(message)
        item = MESSAGES.write(message).decode(), self._files(message)
        with self._lock:
            self._said.append(item)

    def _files(self, message: Message) -> dict[str, bytes]:
        """What the lab needs beside the message: the reconstructions; in the end what was tapped of the audit, and what
        the attacker learned from, of which the lab sees to it that no client's image is among it."""
        if isinstance(message, protocol.Done):
            tapped = sorted(self._config.observations.glob("audit.*"))
            files = {f"{OBSERVATIONS}{path.name}": path.read_bytes() for path in tapped}
            return {**files, f"{ATTACK}{AUXILIARY}": (self._config.knowledge / AUXILIARY).read_bytes()}
        name = getattr(message, "reconstructions", None)
        return {} if name is None else {f"{ATTACK}{name}": (self._config.out / name).read_bytes()}
