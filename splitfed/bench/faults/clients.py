"""Clients that die, freeze, dawdle or talk nonsense, as threads of this process."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from torch import Tensor

from splitfed.bench.faults import network
from splitfed.bench.faults.proxy import ChaosProxy
from splitfed.bench.faults.sabotage import CrashError, Sabotage
from splitfed.bench.faults.script import STEPS, Fault
from splitfed.types import Phase
from splitfed.wire.frames import seal
from splitfed.wire.link import GrpcLink
from splitfed.wire.reconnecting_stream import SilentAddresses
from splitfed.wire.session import Hello, StepResult

SLOW_S = 0.1
"""How long a slow client dawdles: less than any deadline."""


def _crash() -> NoReturn:
    raise CrashError


def _leave() -> NoReturn:
    sys.exit("enough")


def _full() -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


BEFORE: dict[str, Callable[[], object]] = {
    "client raises before": _crash,
    "client leaves the interpreter": _leave,
    "client has no disk": _full,
    "client is slow": lambda: time.sleep(SLOW_S),
}
AFTER = ("client raises after",)


class SabotagedLink(GrpcLink):
    """A link whose client meets its faults at the steps of their places.

    Args:
        addresses, hello: see `GrpcLink`.
        sabotage: the faults.
        proxy: the client's network.
        stopped: see `GrpcLink`.
        silent: see `GrpcLink`.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        hello: Hello,
        *,
        sabotage: Sabotage,
        proxy: ChaosProxy,
        silent: SilentAddresses,
        stopped: Callable[[], bool],
    ) -> None:
        self._sabotage = sabotage
        self._proxy = proxy
        self._of = hello
        self._trouble_network(-1)
        super().__init__(
            addresses,
            hello,
            deadline_s=network.STREAM_DEADLINE_S,
            retries=retries(sabotage),
            silent=silent,
            stopped=stopped,
        )

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """A step, with what is to happen before, in place of, and after it."""
        self._before(step)
        if self._strikes(step, "client sends NaN"):
            activation = torch.full_like(activation, torch.nan)
        if self._strikes(step, "client sends no such label"):
            labels = torch.full((len(activation),), 2**20)
        if self._strikes(step, "client is through too early"):
            super().done(STEPS[self._of.phase] + 1, len(activation))
        sent = step + 7 if self._strikes(step, "client sends another step") else step
        result = super().forward(sent, activation, labels)
        self._after(step)
        return result

    def done(self, steps: int, examples: int) -> None:
        """The end of the stream, with what is to happen before and after it."""
        self._before(steps)
        super().done(steps, examples)
        self._after(steps)

    def _before(self, step: int) -> None:
        self._trouble_network(step)
        self._sabotage.on_step(self._of, step)
        for name, act in BEFORE.items():
            if self._strikes(step, name):
                act()
        if (fault := self._strikes(step, "client freezes")) is not None:
            self._sabotage.hold(fault)
        if self._strikes(step, "client sends no frame"):
            self._ask(step, seal(b"\xff\xff\xff"))

    def _after(self, step: int) -> None:
        if self._strikes(step, *AFTER):
            raise CrashError

    def _trouble_network(self, step: int) -> None:
        if (fault := self._strikes(step, *network.NAMES)) is not None:
            network.do(fault.name, self._proxy, self._sabotage.draws(fault))

    def _strikes(self, step: int, *names: str) -> Fault | None:
        return self._sabotage.strike(names, self._of.round, self._of.phase, self._of.client, step)


def retries(sabotage: Sabotage) -> int:
    """Few where a client is to be lost for want of a way, so that it does not take long."""
    parted = {"network is parted", "network all are parted"}
    return network.REFUSALS if parted & {fault.name for fault in sabotage.script.faults} else 5


class SabotagedApp(ClientApp):
    """A ClientApp whose clients meet their faults with the message, or with the reply to it."""

    def __init__(
        self,
        app: Callable[[Message, Context], Message],
        sabotage: Sabotage,
        in_process: Callable[[Message, Fault], Message],
    ) -> None:
        super().__init__()
        self._app = app
        self._sabotage = sabotage
        self._in_process = in_process

    def __call__(self, message: Message, context: Context) -> Message:
        """The app's reply, or what becomes of it."""
        client, (round_number, phase) = message.metadata.dst_node_id - 1, asked(message)
        if self._sabotage.all_crash == round_number:
            raise CrashError
        if (fault := self._sabotage.process_fault(round_number, phase, client)) is not None:
            return self._in_process(message, fault)
        if message.metadata.message_type == "train.prepare":
            if self._sabotage.strike(("client raises in the preparation",), 1, client=client):
                raise CrashError
            return self._app(message, context)
        reply = self._app(message, context)
        fault = self._sabotage.strike(tuple(REPLIES), round_number, phase, client, -1)
        if fault is not None:
            REPLIES[fault.name](reply, self._sabotage, fault)
        return reply


def asked(message: Message) -> tuple[int, Phase]:
    """Which round and phase a message asks for."""
    config = message.content.config_records["config"]
    phase = Phase.TRAIN if message.metadata.message_type.startswith("train") else Phase(int(str(config["phase"])))
    return int(str(config["server-round"])), phase


def _raise(reply: Message, sabotage: Sabotage, fault: Fault) -> NoReturn:  # noqa: ARG001
    raise CrashError


def _freeze(reply: Message, sabotage: Sabotage, fault: Fault) -> None:  # noqa: ARG001
    sabotage.hold(fault)


def _nan(reply: Message, sabotage: Sabotage, fault: Fault) -> None:  # noqa: ARG001
    arrays = reply.content.array_records["arrays"]
    name = next(iter(arrays))
    arrays[name] = Array(np.full_like(arrays[name].numpy(), np.nan))


def _another_front(reply: Message, sabotage: Sabotage, fault: Fault) -> None:  # noqa: ARG001
    arrays = reply.content.array_records["arrays"]
    reply.content["arrays"] = ArrayRecord({f"x.{name}": array for name, array in arrays.items()})


def _other_counts(reply: Message, sabotage: Sabotage, fault: Fault) -> None:  # noqa: ARG001
    metrics = reply.content.metric_records["metrics"]
    reply.content["metrics"] = MetricRecord({**metrics, "num-examples": 10**6})


REPLIES: dict[str, Callable[[Message, Sabotage, Fault], object]] = {
    "client raises with its reply": _raise,
    "client freezes with its reply": _freeze,
    "client replies with NaN": _nan,
    "client replies with another front": _another_front,
    "client replies with other counts": _other_counts,
}
