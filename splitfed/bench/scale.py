"""What more clients cost the server, and what each codec costs in accuracy and leaks.

Prints one JSON line per case. In the cases `N clients`, a server in a process of its own trains the back of the main
job (500 wide, batch 64, float32) over real gRPC, and averages each round; clients are threads of this process that
compute nothing: each sends the same activation again as soon as it has its answer. CPU seconds and memory are the
server's alone; times are of both on one machine. What grows in step with the clients is flat per client: `relative`
figures are against the first case.

In the cases `codec NAME`, a small scenario on scikit-learn's digits runs to its end, attacked, with that codec.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from splitfed.bench.arguments import positive
from splitfed.bench.measure import print_line, significant
from splitfed.bench.scale_server import BATCH, CLASSES, SECRET, WIDTH, Server, serving
from splitfed.config.load import validate
from splitfed.experiment import run as experiment
from splitfed.types import Phase
from splitfed.wire.codec import CODECS
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.session import Hello

CLIENTS = (2, 8, 32, 128)
WARM_UP_ROUNDS = 2
DEADLINE_S = 600.0
"""Of a step: many clients share few cores."""


class Cost(NamedTuple):
    """What a number of clients came to.

    Attributes:
        round_s: seconds of each round.
        step_s: seconds of each step of each client.
        cpu_s: the server's, per client and round.
        resident_bytes: by which the server grew, per client.
    """

    round_s: list[float]
    step_s: list[float]
    cpu_s: float
    resident_bytes: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0."""
    parser = argparse.ArgumentParser(
        prog="splitfed bench scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=positive, nargs="*", default=CLIENTS, help="cases (default 2 8 32 128)")
    parser.add_argument("--rounds", type=positive, default=5, help="that count, per case (default %(default)s)")
    parser.add_argument("--steps", type=positive, default=8, help="per client and round (default %(default)s)")
    parser.add_argument(
        "--codecs", nargs="*", choices=tuple(CODECS), default=tuple(CODECS), help="that run a scenario (default all)"
    )
    options = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for line in client_lines(options.clients, options.rounds, options.steps):
            print_line(line)
        for codec in options.codecs:
            print_line(codec_line(codec))
    finally:
        torch.set_num_threads(threads)
    return 0


def client_lines(clients: Sequence[int], rounds: int, steps: int) -> Iterator[dict[str, Any]]:
    """A line per number of clients."""
    first: Cost | None = None
    for number in clients:
        case = measured(number, rounds, steps)
        first = first or case
        p50, p99 = np.percentile(case.step_s, (50, 99))
        yield {
            "bench": "scale",
            "case": f"{number} clients",
            "rounds": rounds,
            "steps": steps,
            "rounds_per_minute": significant(60 / float(np.median(case.round_s))),
            "step_p50_ms": significant(1e3 * p50),
            "step_p99_ms": significant(1e3 * p99),
            "server_cpu_s_per_client_and_round": significant(case.cpu_s),
            "server_cpu_relative": significant(case.cpu_s / first.cpu_s),
            "server_memory_per_client_mib": significant(case.resident_bytes / 2**20),
            "server_memory_relative": significant(case.resident_bytes / first.resident_bytes),
        }


def measured(clients: int, rounds: int, steps: int) -> Cost:
    """Rounds of so many clients with a server of their own.

    Memory is from a server that has trained one client to one that holds what it does for all of them.
    """
    activation, labels = torch.randn(BATCH, WIDTH).relu_(), torch.randint(CLASSES, (BATCH,))
    round_s: list[float] = []
    step_s: list[float] = []
    with serving(clients) as server:
        _round(server, 1, 1, steps, (activation, labels))
        alone = server.usage().resident_bytes
        for number in range(2, 2 + WARM_UP_ROUNDS):
            _round(server, number, clients, steps, (activation, labels))
        before = server.usage()
        for number in range(2 + WARM_UP_ROUNDS, 2 + WARM_UP_ROUNDS + rounds):
            began = time.perf_counter()
            step_s += _round(server, number, clients, steps, (activation, labels))
            round_s.append(time.perf_counter() - began)
        after = server.usage()
    # what the first client takes was there before
    growth = (after.resident_bytes - alone) / max(clients - 1, 1)
    return Cost(round_s, step_s, (after.cpu_s - before.cpu_s) / clients / rounds, growth)


def _round(server: Server, number: int, clients: int, steps: int, batch: tuple[Tensor, Tensor]) -> list[float]:
    """Seconds of each step of each client, all at once; then their backs are averaged."""
    server.begin(number)
    with ThreadPoolExecutor(clients) as threads:
        of_clients = threads.map(lambda client: _stream(server, number, client, steps, batch), range(clients))
        step_s = [seconds for of_client in of_clients for seconds in of_client]
    server.average(clients)
    return step_s


def _stream(server: Server, number: int, client: int, steps: int, batch: tuple[Tensor, Tensor]) -> list[float]:
    """Seconds of each step of one client's round."""
    hello = Hello("scale", number, client, Phase.TRAIN, (WIDTH,), token=client_token(SECRET, client))
    step_s: list[float] = []
    with GrpcLink([server.address], hello, deadline_s=DEADLINE_S) as link:
        for step in range(steps):
            began = time.perf_counter()
            link.forward(step, *batch)
            step_s.append(time.perf_counter() - began)
        link.done(steps, steps * BATCH)
    return step_s


def codec_line(codec: str) -> dict[str, Any]:
    """What a small scenario comes to with this codec."""
    table = {
        "name": "scale",
        "data": {"name": "digits", "train": 480, "aux": 600, "test": 240},
        "model": {"width": 48},
        "federation": {"clients": 3, "rounds": 5, "batch_size": 32, "codec": codec},
        "attacker": {"margin_db": 0.0},
        "defense": [{"name": "none"}],
        "attack": [{"name": "ridge"}, {"name": "decoder", "max_epochs": 50}],
    }
    with tempfile.TemporaryDirectory() as folder:
        (cell,) = experiment.run(validate(table, source="scale"), out=folder).results.cells
    return {
        "bench": "scale",
        "case": f"codec {codec}",
        "activation_bytes_per_image": cell.activation_bytes_per_image,
        "wire_bytes_per_image": cell.wire_bytes_per_image,
        "accuracy": cell.accuracy,
        "strongest": cell.strongest,
        "strongest_ssim": None if cell.strongest_score is None else cell.strongest_score.ssim,
        "valid": cell.valid,
    }
