"""Plays a script: a federation over gRPC that meets its faults, and goes on from its checkpoint where it dies."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from splitfed.bench.faults import child, client_process, world
from splitfed.bench.faults.clients import SabotagedApp, SabotagedLink
from splitfed.bench.faults.kinds import Party
from splitfed.bench.faults.proxy import ChaosProxy
from splitfed.bench.faults.sabotage import DeathError, Sabotage
from splitfed.bench.faults.script import Fault, Script
from splitfed.bench.faults.server import PatientGrid, trouble
from splitfed.bench.faults.witness import Witness
from splitfed.errors import SplitfedError, TrainingFailed, UserError
from splitfed.federation.client_app import build_client_app
from splitfed.federation.outcome import FederationResult
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.wire.reconnecting_stream import SilentAddresses
from splitfed.wire.session import Hello

MOST_ATTEMPTS = 10


class Aftermath(NamedTuple):
    """What came of a script.

    Attributes:
        lost: (round, client, reason) as they were told.
        errors: what each attempt but a last good one ended with.
        begins: the first round of each attempt; 0 for one that came to none.
        not_struck: faults that never came about.
        digest: what was computed; None where there is no result.
    """

    lost: list[tuple[int, int, str]]
    errors: list[str]
    begins: list[int]
    not_struck: list[str]
    digest: dict[str, Any] | None


def play(script: Script, folder: Path) -> Aftermath:
    """Run it to its end, with a checkpoint in this folder."""
    checkpoint = folder / "cell.pt"
    sabotage = Sabotage(script)
    witness = Witness(sabotage, checkpoint)
    errors: list[str] = []
    result: FederationResult | None = None
    armed: list[str] = []
    if (fault := _of_a_process(script)) is not None:
        errors.append(_elsewhere(script, fault, witness, sabotage, checkpoint))
    while result is None and len(errors) < MOST_ATTEMPTS:
        try:
            result = attempt(sabotage, witness, checkpoint, armed)
        except (DeathError, SplitfedError) as error:
            errors.append(f"{type(error).__name__}: {error}")
            witness.mend()
            if isinstance(error, TrainingFailed):
                break
            if isinstance(error, UserError) and "is damaged" in str(error):
                checkpoint.unlink()  # as the message says
    not_struck = [fault.name for fault in script.faults if fault not in sabotage.struck]
    digest = None if result is None else world.digest(result)
    return Aftermath(witness.lost, errors, witness.begins, not_struck + armed, digest)


def attempt(sabotage: Sabotage, witness: Witness, checkpoint: Path, armed: list[str]) -> FederationResult:
    """One life of the server: from the checkpoint to the end, or to its death.

    Args:
        sabotage: the faults.
        witness: who watches.
        checkpoint: what it goes on from.
        armed: gets a word on each network that has not done what it was told to.
    """
    script = sabotage.script
    deadline_s = world.NEVER_S if script.patient else world.SOON_S
    job = world.job(script.clients, script.rounds, defense=script.defense, round_deadline_s=deadline_s)
    federation = Federation(job, witness, checkpoint=checkpoint)
    trouble(federation.host, sabotage)
    stopped = threading.Event()
    witness.begins.append(0)
    results: list[FederationResult] = []
    with ExitStack() as stack:
        stack.callback(witness.stop)
        nets = [stack.enter_context(ChaosProxy(lambda: witness.address)) for _ in range(script.clients)]
        witness.proxies = nets
        grid = PatientGrid(_app(sabotage, nets, stopped), script.clients)
        grid.sabotage = sabotage
        stack.enter_context(grid)
        try:
            build_server_app(federation, results)(grid, world.flower_context())
        finally:
            stopped.set()
            sabotage.let_all_go()
            sabotage.death.clear()
        armed += [f"the network of client {number}" for number, net in enumerate(nets) if net.armed]
    return results[0]


def _app(sabotage: Sabotage, nets: Sequence[ChaosProxy], stopped: threading.Event) -> SabotagedApp:
    script = sabotage.script
    silent = [SilentAddresses() for _ in nets]
    own = world.images(script.clients)

    def ways(client: int, addresses: Sequence[str]) -> list[str]:
        return [nets[client].address, *(addresses if script.direct else ())]

    def connect(addresses: Sequence[str], hello: Hello) -> SabotagedLink:
        return SabotagedLink(
            ways(hello.client, addresses),
            hello,
            sabotage=sabotage,
            proxy=nets[hello.client],
            silent=silent[hello.client],
            stopped=stopped.is_set,
        )

    app = build_client_app(lambda _, number: own[number], connect=connect, stopped=stopped.is_set)
    return SabotagedApp(
        app,
        sabotage,
        lambda message, fault: client_process.answer(
            message, fault, sabotage, own[fault.client], ways(fault.client, _addresses(message))
        ),
    )


def _addresses(message: Any) -> list[str]:
    return [str(address) for address in message.content.config_records["config"]["addresses"]]


def _of_a_process(script: Script) -> Fault | None:
    """The fault that the server's process does not outlive, if there is one."""
    return next((fault for fault in script.of(Party.SERVER) if fault.kind.process), None)


def _elsewhere(script: Script, fault: Fault, witness: Witness, sabotage: Sabotage, checkpoint: Path) -> str:
    """The first attempt, in a process of its own; what it ended with."""
    process, pipe = child.start(_attempt_alone, script, checkpoint)
    begun, said = 0, ""
    with pipe:
        try:
            begun = pipe.recv()
            said = pipe.recv()
        except EOFError:
            process.join(child.END_S)
    code = child.end(process)
    witness.begins.append(begun)
    sabotage.has_struck(fault)
    return said or f"ended with {code}"


def _attempt_alone(pipe: Connection, script: Script, checkpoint: Path) -> None:
    sabotage = Sabotage(script)
    try:
        attempt(sabotage, Witness(sabotage, checkpoint, on_begin=pipe.send, alone=True), checkpoint, [])
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
    else:
        pipe.send("nothing")


def matches(pattern: str, text: str) -> bool:
    """Whether this pattern is in the text, over its lines."""
    return re.search(pattern, text, re.DOTALL) is not None
