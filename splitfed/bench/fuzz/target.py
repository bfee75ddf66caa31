"""What is bombarded: a server, and a relay with its tap, in a process of their own that reports on itself."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import psutil
import torch

from splitfed.bench.fuzz.alarms import Alarms
from splitfed.bench.fuzz.host import CLIENTS, SECRET, NotingHost
from splitfed.bench.fuzz.inside import RULES
from splitfed.runners.child import safe_path
from splitfed.wire.limits import Keepalive
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.stream import Waits
from splitfed.wire.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from torch import Tensor

    from splitfed.types import Observation

PATIENT = Keepalive(after_s=60.0, answer_s=60.0)
"""A busy machine is no fault of the target's."""
WAITS = Waits(hello_s=60.0, idle_s=60.0, send_s=60.0)
_SETTLED_S = 120.0

Seen = tuple[int, int, str]
"""Client, step, and a digest of activation and labels."""


class Report(NamedTuple):
    """A target's own account.

    Attributes:
        streams, finished, refused, broken: the server's counters.
        activations, ignored, missed, unparsed, dropped_bytes: the tap's, and its relay's.
        no_huffman: connections that the tap has given up for a header that is no Huffman code.
        observed: what the tap has emitted since the last report.
        applied: what sessions were given since the last report.
        connections: what the relay has taken.
        closed: those that the tap was told the end of.
        alarms: what was logged as an error, or raised in a thread and caught by nobody, since the last report.
        threads: those that run, by the beginning of their names.
        blocks: how many objects Python holds.
        resident_bytes: of the process.
    """

    streams: int
    finished: int
    refused: Counter[str]
    broken: int
    activations: int
    ignored: int
    missed: int
    unparsed: int
    dropped_bytes: int
    no_huffman: int
    observed: Counter[Seen]
    applied: Counter[Seen]
    connections: int
    closed: int
    alarms: list[str]
    threads: Counter[str]
    blocks: int
    resident_bytes: int

    @property
    def ended(self) -> int:
        """How many streams are over; no more than there were, if each is counted once."""
        return self.finished + self.broken + self.refused.total()

    @property
    def at_rest(self) -> bool:
        """Whether no stream and no connection is under way."""
        quiet = self.threads["relay"] == 1 and not self.threads["watchdog"]  # one takes connections
        return quiet and self.ended >= self.streams and self.closed == self.connections


def digest(activation: Tensor, labels: Tensor | None) -> str:
    """Equal for batches that are equal to the bit."""
    of_labels = b"" if labels is None else labels.numpy().tobytes()
    return hashlib.sha256(activation.numpy().tobytes() + b"|" + of_labels).hexdigest()[:16]


class Besieged:
    """The process, as those see it who aim at it.

    Attributes:
        server: ``host:port``.
        relay: the same, of the relay with the tap.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._observed: Counter[Seen] = Counter()
        self._applied: Counter[Seen] = Counter()
        self.server, self.relay = pipe.recv()

    def report(self) -> Report:
        """Its account now."""
        self._pipe.send("report")
        report: Report = self._pipe.recv()
        return report

    def at_rest(self) -> Report:
        """Its account once nothing is under way, with all that was seen since the last one.

        Raises:
            TimeoutError: it does not come to rest.
        """
        until = time.monotonic() + _SETTLED_S
        observed: Counter[Seen] = Counter()
        applied: Counter[Seen] = Counter()
        alarms: list[str] = []
        while True:
            report = self.report()
            observed += report.observed
            applied += report.applied
            alarms += report.alarms
            if report.at_rest:
                return report._replace(observed=observed, applied=applied, alarms=alarms)
            if time.monotonic() > until:
                raise TimeoutError(f"streams or connections are left: {report}")
            time.sleep(0.02)


def _as_it_is() -> None:
    """Break nothing."""


@contextmanager
def target(prepare: Callable[[], None] = _as_it_is) -> Iterator[Besieged]:
    """A target that runs as long as the context; ``prepare`` is called in it first, to break something on purpose."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, prepare), daemon=True)
    with safe_path():
        process.start()
    try:
        yield Besieged(ours)
    finally:
        ours.send("stop")
        process.join()


class _ClosingTap(Tap):
    """A tap that counts the ends that it was told."""

    ends = 0

    def closed(self, connection: int) -> None:
        super().closed(connection)
        self.ends += 1


class _Served:
    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._host = NotingHost()
        self._observed: list[Observation] = []
        self._no_huffman = 0
        self._lock = threading.Lock()
        self._tap = _ClosingTap(self._note, self._notice, rules=RULES)
        self.server = SplitServer(
            self._host,
            secret=SECRET,
            max_message_bytes=RULES.max_message_bytes,
            max_streams=CLIENTS,
            waits=WAITS,
            keepalive=PATIENT,
        )
        self.relay = Relay(self.server.address, observer=self._tap)

    def _note(self, observation: Observation) -> None:
        with self._lock:
            self._observed.append(observation)

    def _notice(self, text: str) -> None:
        self._no_huffman += "uffman" in text

    def report(self) -> Report:
        gc.collect()
        counters, tap = self.server.counters, self._tap
        with self._lock:
            observed, self._observed = self._observed, []
        applied = [self._host.applied.popleft() for _ in range(len(self._host.applied))]
        return Report(
            streams=counters.streams,
            finished=counters.finished,
            refused=Counter(counters.refused),
            broken=counters.broken,
            activations=tap.activations,
            ignored=tap.ignored,
            missed=tap.missed,
            unparsed=tap.unparsed,
            dropped_bytes=self.relay.dropped_bytes,
            no_huffman=self._no_huffman,
            observed=Counter((each.client, each.step, digest(each.activation, each.labels)) for each in observed),
            applied=Counter((each.client, each.step, digest(each.activation, each.labels)) for each in applied),
            connections=self.relay.connections,
            closed=tap.ends,
            alarms=[self._alarms.kept.pop(0) for _ in range(len(self._alarms.kept))],
            threads=Counter(thread.name.removeprefix("splitfed-").split("_")[0] for thread in threading.enumerate()),
            blocks=sys.getallocatedblocks(),
            resident_bytes=psutil.Process().memory_info().rss,
        )


def _serve(pipe: Connection, prepare: Callable[[], None]) -> None:
    prepare()
    torch.set_num_threads(1)
    with Alarms() as alarms:
        served = _Served(alarms)
        with served.server, served.relay:
            pipe.send((served.server.address, served.relay.address))
            while pipe.recv() == "report":
                pipe.send(served.report())
