"""What the wire costs: a training step with and without it, and each codec by itself.

Prints one JSON line per case. The training step is that of the plain front on 28×28 gray images: Flatten,
Linear(784, 500), ReLU | Linear(500, 500), ReLU, Linear(500, 6), SGD with momentum 0.9, batch 64, one torch thread
per process. Front and back are each stepped where they are; without a wire both are in one process, one after the
other. The server and the relay are processes of their own. The cases take turns, so that what else the machine
does falls on all of them alike; the figure is the median.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.bench.arguments import positive
from splitfed.bench.measure import print_line
from splitfed.runners.child import safe_path
from splitfed.types import Phase
from splitfed.wire.codec import CODECS, Codec
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello, StepResult
from splitfed.wire.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from splitfed.types import Observation

BATCH, PIXELS, WIDTH, CLASSES = 64, 28 * 28, 500, 6
WARM_UP_STEPS = 20
TURN_STEPS = 10
TARGET_RATIO = 1.3
SECRET = "bench"


class EchoBack:
    """A session that trains the back.

    The gradient that the client waits for comes first; those of the weights are worked out in `update`, while
    the client goes on.
    """

    def __init__(self) -> None:
        self.next_step = 0
        self._net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
        self._optimizer = _sgd(self._net)
        self._loss = torch.zeros(())

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """Loss and gradient of one batch."""
        assert labels is not None
        self.next_step = step + 1
        leaf = activation.requires_grad_()
        scores = self._net(leaf)
        self._loss = F.cross_entropy(scores, labels)
        (gradient,) = torch.autograd.grad(self._loss, leaf, retain_graph=True)
        return StepResult(self._loss.item(), int((scores.argmax(1) == labels).sum()), gradient)

    def update(self) -> None:
        """Gradients of the weights, and a step of the optimizer."""
        self._optimizer.zero_grad()
        self._loss.backward(inputs=list(self._net.parameters()))  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def finish(self, steps: int, examples: int) -> None:
        """Nothing is left to do."""


class Host:
    """Gives each stream a back of its own."""

    classes = CLASSES

    def open(self, hello: Hello) -> EchoBack:  # noqa: ARG002  lets everyone in
        """A fresh back."""
        return EchoBack()


class FrontTrainer:
    """Trains a front over ``link``, or the whole network in this process when there is none."""

    def __init__(self, link: GrpcLink | None) -> None:
        self._link = link
        self._front = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, WIDTH), nn.ReLU())
        self._back = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
        whole = nn.Sequential(self._front, self._back)
        self._optimizer = _sgd(whole if link is None else self._front)
        self._pixels = torch.rand(BATCH, 1, 28, 28)
        self._labels = torch.randint(CLASSES, (BATCH,))
        self._step = 0

    def step(self) -> None:
        """One training step."""
        activation = self._front(self._pixels)
        self._optimizer.zero_grad()
        if self._link is None:
            scores = self._back(activation)
            loss = F.cross_entropy(scores, self._labels)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.item(), int((scores.argmax(1) == self._labels).sum())
        else:
            activation.backward(self._link.forward(self._step, activation, self._labels).gradient)
        self._optimizer.step()
        self._step += 1


def main(argv: list[str] | None = None) -> int:
    """Measure and print; returns 0."""
    parser = argparse.ArgumentParser(prog="splitfed bench wire", description="what the wire costs")
    parser.add_argument("--steps", type=positive, default=600, help="training steps per case (default: %(default)s)")
    options = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for line in [*codec_lines(), *step_lines(options.steps)]:
            print_line(line)
    finally:
        torch.set_num_threads(threads)
    return 0


def codec_lines() -> Iterator[dict[str, Any]]:
    """Time and size of each codec on an activation, half of which is 0 as behind a ReLU."""
    activation = torch.randn(BATCH, WIDTH).relu_()
    for name, codec in CODECS.items():
        encoded = codec.encode(activation)
        yield {
            "bench": "wire",
            "case": f"codec {name}",
            "shape": [BATCH, WIDTH],
            "encode_us": round(1e6 * _median_s(partial(_joined, codec, activation)), 1),
            "decode_us": round(1e6 * _median_s(partial(codec.decode, encoded)), 1),
            "bytes_per_image": encoded.nbytes / BATCH,
        }


def step_lines(steps: int) -> Iterator[dict[str, Any]]:
    """Milliseconds per training step, without a wire, over it, and through a relay."""
    with ExitStack() as stack:
        server = stack.enter_context(_process(_serve))
        relay = stack.enter_context(_process(_relay, server))
        tapped = stack.enter_context(_process(_tapped_relay, server))
        trainers = {"no wire": FrontTrainer(None)}
        for case, address in (("grpc", server), ("grpc, relay", relay), ("grpc, tapped relay", tapped)):
            hello = Hello("bench", 1, len(trainers), Phase.TRAIN, (WIDTH,), token=client_token(SECRET, len(trainers)))
            trainers[case] = FrontTrainer(stack.enter_context(GrpcLink([address], hello)))
        seconds = _in_turns({case: trainer.step for case, trainer in trainers.items()}, steps)
    without = statistics.median(seconds["no wire"])
    for case, each in seconds.items():
        median = statistics.median(each)
        yield {
            "bench": "wire",
            "case": f"step, {case}",
            "batch_size": BATCH,
            "steps": len(each),
            "median_ms": round(1e3 * median, 3),
            "ratio": round(median / without, 3),
            "target_ratio": TARGET_RATIO if case == "grpc" else None,
        }


def _in_turns(cases: dict[str, Callable[[], object]], steps: int) -> dict[str, list[float]]:
    """Seconds of each step of each case, a few of one case and then a few of the next."""
    for run in cases.values():
        for _ in range(WARM_UP_STEPS):
            run()
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(max(1, steps // TURN_STEPS)):
        for case, run in cases.items():
            run()  # whoever comes from another case warms the caches first
            seconds[case] += [_timed(run) for _ in range(TURN_STEPS)]
    return seconds


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _median_s(run: Callable[[], object], repeats: int = 300) -> float:
    return statistics.median(_timed(run) for _ in range(repeats))


def _joined(codec: Codec, tensor: Tensor) -> bytes:
    return b"".join(codec.encode(tensor).buffers)


def _sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)


@contextmanager
def _process(role: Callable[..., None], *arguments: str) -> Iterator[str]:
    """The address at which ``role`` serves, in a process of its own, until the context ends."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=role, args=(theirs, *arguments), daemon=True)
    with safe_path():
        process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join()


def _serve(pipe: Connection) -> None:
    torch.set_num_threads(1)
    with SplitServer(Host(), secret=SECRET) as server:
        pipe.send(server.address)
        pipe.recv()


def _relay(pipe: Connection, upstream: str) -> None:
    with Relay(upstream) as relay:
        pipe.send(relay.address)
        pipe.recv()


def _tapped_relay(pipe: Connection, upstream: str) -> None:
    with Relay(upstream, observer=Tap(_forget)) as relay:
        pipe.send(relay.address)
        pipe.recv()


def _forget(observation: Observation) -> None:
    """Parsed, and that is all."""


if __name__ == "__main__":
    raise SystemExit(main())
