"""The attacker of one cell as the lab mounts it: what it is told, when it starts, what it is given, when it ends."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.knowledge_files import save_auxiliary
from splitfed.attacker.mounted import config_of
from splitfed.attacker.protocol import Final, Message
from splitfed.errors import AttackError
from splitfed.experiment.attacker_process import AttackerProcess
from splitfed.experiment.context import CellContext
from splitfed.experiment.server_notes import ServerNotes
from splitfed.models.front import Front
from splitfed.wire.curious_host import CuriousHost
from splitfed.wire.session import SessionHost


def attacker_config(context: CellContext, upstream: str | None) -> AttackerConfig:
    """What the attacker of this cell is told.

    Args:
        context: the cell.
        upstream: where its relay leads; None where the server itself looks on.
    """
    return config_of(
        context.run.scenario,
        context.cell,
        context.job.shape,
        upstream=upstream,
        knowledge=context.knowledge,
        observations=context.observations,
        out=context.folder / "attack",
        shown=context.truth.places(context.shown),
    )


class MountedAttack:
    """A context manager around one cell: whatever happens, no process of the attacker's outlives it.

    Whatever happens to the attacker is its own loss: training goes on without it, and the cell is then INVALID.
    """

    def __init__(self, context: CellContext, hear: Callable[[Message], None]) -> None:
        self._context = context
        self._hear = hear
        self._process: AttackerProcess | None = None
        attacker = context.run.scenario.attacker
        self._at_server = attacker.vantage == "server"
        self._notes = ServerNotes(context.observations, attacker.keep_rounds or None, context.notice)

    def hosted(self, host: SessionHost) -> SessionHost:
        """The same host, which keeps what it is sent where the server looks on."""
        return CuriousHost(host, self._notes) if self._at_server else host

    def start(self, server_address: str) -> str | None:
        """Start the attacker; its relay's address, or None where it has none or does not start."""
        upstream = None if self._at_server else server_address
        process = AttackerProcess(attacker_config(self._context, upstream), self._hear)
        save_auxiliary(self._context.knowledge, self._context.splits.aux)
        try:
            relay_address = process.start()
        except AttackError as error:
            self._context.notice(f"{error}. Training goes on without it")
            return None
        self._process = process
        return relay_address

    def publish_front(self, round_number: int, front: Front) -> None:
        """What every participant gets, the attacker gets."""
        if self._process is not None:
            self._process.publish_front(round_number, front)

    def finish(self, images: int) -> None:
        """Have the attacks run to their end on the audit of so many images."""
        if self._process is None:
            return
        final = Final(round=self._context.audit_round, rows=images)
        try:
            self._process.finish(final, self._context.run.scenario.attacker.deadline_s)
        except AttackError as error:
            self._context.notice(str(error))

    def __enter__(self) -> MountedAttack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop()
        self._notes.close()
