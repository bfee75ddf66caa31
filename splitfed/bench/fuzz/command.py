"""Bombard the server, the relay, and the tap with malformed inputs: none may crash, leak, or disturb anyone.

    splitfed bench fuzz --inputs 20000 --seed 0

Without a network, by the thousand: conversations and proofs, each judged by the server and by the tap, and answers and
bytes for the tap alone. Over the network, past the tap, while honest clients train: gRPC streams, and sockets that
speak HTTP/2 badly. Everything that comes in must be accounted for as answered, refused, or broken, and the tap must
observe what was answered and nothing else. One JSON line per case says what became of its inputs, and how much more
memory was held in the end than after a quarter of them; one line per failure says how to repeat it. Exit code 1 where
there was one.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import psutil
import torch

from splitfed.bench.arguments import not_negative, positive
from splitfed.bench.fuzz.alarms import Alarms
from splitfed.bench.fuzz.inputs import randomness
from splitfed.bench.fuzz.inside_cases import Conversations, Proofs
from splitfed.bench.fuzz.live_cases import GrpcStreams, Sockets
from splitfed.bench.fuzz.siege import Siege
from splitfed.bench.fuzz.tap_cases import Answers, Connections
from splitfed.bench.fuzz.target import target
from splitfed.bench.measure import print_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from splitfed.bench.fuzz.target import Besieged

SHARES = {"conversations": 45, "proofs": 20, "answers": 11, "connections": 20, "streams": 2, "sockets": 2}
"""Of a hundred inputs, how many are of each case: most are of those that cost a millisecond."""

SALVO = 100
MOST_FAILURES = 5
WARM_UP = 4
"""Memory is compared with what it is after one part in so many: by then all code has run and all caches are full."""

MOST_BLOCKS = {"inside": 1_000, "live": 10_000}
"""How many objects more Python may hold in the end. Counts vary by 100 in this process, and by 5,000 in one whose
threads come and go. One object kept of each input is more: in this process from 1,400 inputs of a case on, or, where it
is one input in ten, from 14,000 on."""

MOST_MEMORY_MIB = {"inside": 8, "live": 24}
"""How much more memory the process may take in the end, for what Python does not count: buffers of gRPC and of torch.
It varies by 1 MiB and by 10, as allocators keep some of what passes. Inputs have 2 kB on average, and up to 70: what is
kept of all of them is more from 6,000 inputs on, and in two million what is kept of one in 300."""


class WithoutNetwork(Protocol):
    """A case whose inputs are judged in this process."""

    def one(self, rng: Random, number: int) -> str:
        """What became of an input; raises where something is wrong."""

    def close(self) -> None:
        """Nothing more comes."""


INSIDE: dict[str, Callable[[Alarms], WithoutNetwork]] = {
    "conversations": Conversations,
    "proofs": Proofs,
    "answers": Answers,
    "connections": Connections,
}
LIVE: dict[str, Any] = {"streams": GrpcStreams, "sockets": Sockets}


class Footprint(NamedTuple):
    """What a process holds.

    Attributes:
        blocks: objects of Python.
        resident_bytes: of memory.
    """

    blocks: int
    resident_bytes: int

    def grown(self, since: Footprint) -> dict[str, Any]:
        """How much more than before, for a line."""
        return {
            "blocks_grown": self.blocks - since.blocks,
            "memory_grown_mib": round((self.resident_bytes - since.resident_bytes) / 2**20, 1),
        }


class Failure(NamedTuple):
    """Something that was wrong with one of these inputs, or with all of them together."""

    numbers: range
    why: str


class CaseOutcome(NamedTuple):
    """What became of the inputs of one case.

    Attributes:
        became: how often what.
        failures: none, if all is well.
        figures: what else the line says.
    """

    became: Counter[str]
    failures: list[Failure]
    figures: dict[str, Any]


def inside(name: str, numbers: range, seed: int) -> CaseOutcome:
    """These inputs of a case that needs no network."""
    became: Counter[str] = Counter()
    failures: list[Failure] = []
    with Alarms() as alarms:
        case = INSIDE[name](alarms)
        warm = _held()
        for number in numbers:
            try:
                became[case.one(randomness(seed, name, number), number)] += 1
            except Exception as error:
                failures.append(Failure(range(number, number + 1), f"{type(error).__name__}: {error}"[:1000]))
                alarms.kept.clear()
            if len(failures) == MOST_FAILURES:
                break
            if number == _warm_at(numbers):
                warm = _held()
        case.close()
    figures = _held().grown(warm)
    return CaseOutcome(became, failures or list(_leaks(figures, numbers, "inside")), figures)


def live(name: str, numbers: range, seed: int, aim: Besieged) -> CaseOutcome:
    """These inputs of a case over the network."""
    became: Counter[str] = Counter()
    failures: list[Failure] = []
    siege = Siege(aim, LIVE[name](aim), seed)
    report = warm = aim.at_rest()
    for salvo in _salvos(numbers):
        try:
            fate, report = siege.salvo(salvo)
            became += fate
        except Exception as error:
            failures.append(Failure(salvo, f"{type(error).__name__}: {error}"[:1000]))
            break  # what follows would be compared with books that are wrong already
        if _warm_at(numbers) in salvo:
            warm = report
    before, after = (Footprint(each.blocks, each.resident_bytes) for each in (warm, report))
    figures = after.grown(before) | {"honest_trainings": siege.trainings, "blinded": siege.blinded}
    return CaseOutcome(became, failures or list(_leaks(figures, numbers, "live")), figures)


def _salvos(numbers: range) -> Iterator[range]:
    return (numbers[at : at + SALVO] for at in range(0, len(numbers), SALVO))


def _warm_at(numbers: range) -> int:
    return numbers[len(numbers) // WARM_UP]


def _held() -> Footprint:
    gc.collect()
    return Footprint(sys.getallocatedblocks(), psutil.Process().memory_info().rss)


def _leaks(figures: dict[str, Any], numbers: range, where: str) -> Iterator[Failure]:
    for what, most in (("blocks_grown", MOST_BLOCKS[where]), ("memory_grown_mib", MOST_MEMORY_MIB[where])):
        if figures[what] > most:
            yield Failure(numbers, f"{what}: {figures[what]}, more than {most}")


def shares(inputs: int) -> dict[str, int]:
    """How many inputs each case gets, at least one and that many together.

    >>> shares(20_000)
    {'conversations': 9000, 'proofs': 4000, 'answers': 2200, 'connections': 4000, 'streams': 400, 'sockets': 400}
    """
    return {name: -(-inputs * share // 100) for name, share in SHARES.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per case and failure; returns whether there was one."""
    parser = argparse.ArgumentParser(
        prog="splitfed bench fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=positive, default=20_000, help="over all cases (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="what all inputs are drawn from (default %(default)s)")
    parser.add_argument("--case", choices=SHARES, help="this one alone")
    parser.add_argument("--first", type=not_negative, default=0, help="number of the first input (default %(default)s)")
    options = parser.parse_args(argv)
    counts = {options.case: options.inputs} if options.case else shares(options.inputs)
    cases = {name: range(options.first, options.first + count) for name, count in counts.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        failed = list(run_cases(cases, options.seed))
    finally:
        torch.set_num_threads(threads)
    return int(any(failed))


def run_cases(cases: dict[str, range], seed: int) -> Iterator[bool]:
    """Print what became of these inputs; of each case, whether anything failed."""
    with ExitStack() as stack:
        aim = None
        for name, numbers in cases.items():
            began = time.monotonic()
            if name in INSIDE:
                outcome = inside(name, numbers, seed)
            else:
                aim = aim or stack.enter_context(target())
                outcome = live(name, numbers, seed, aim)
            _print(name, numbers, seed, outcome, round(time.monotonic() - began, 1))
            yield bool(outcome.failures)


def _print(name: str, numbers: range, seed: int, outcome: CaseOutcome, seconds: float) -> None:
    line = {"case": name, "inputs": len(numbers), "seed": seed, "seconds": seconds}
    print_line({**line, **outcome.figures, "became": dict(outcome.became.most_common())})
    for failure in outcome.failures:
        first, count = failure.numbers.start, len(failure.numbers)
        again = f"splitfed bench fuzz --case {name} --first {first} --inputs {count} --seed {seed}"
        print_line({"case": name, "failure": failure.why, "again": again})
