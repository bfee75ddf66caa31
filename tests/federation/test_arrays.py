"""Weights as Flower carries them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from splitfed.federation.arrays import load_arrays, to_arrays


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns wherever they can, in the middle of what they make too: which shows what depends on turns."""
    turns, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    gc.callbacks.append(yield_turn)
    yield
    gc.callbacks.remove(yield_turn)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(turns)


def yield_turn(phase: str, _: dict[str, int]) -> None:
    for _step in range(20):
        len(phase)


def test_weights_come_back_in_the_types_that_the_module_declares() -> None:
    sent, received = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for value in sent.state_dict().values():  # they share the module's memory
        value.add_(7)
    load_arrays(received, to_arrays(sent))
    state = received.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in sent.state_dict().items())
    assert state["num_batches_tracked"].dtype is torch.int64


@pytest.mark.usefixtures("restless")
def test_all_clients_can_load_theirs_at_the_same_time() -> None:
    modules = [nn.Linear(2, 2) for _ in range(4)]
    arrays = to_arrays(modules[0])
    with ThreadPoolExecutor(len(modules)) as clients:
        loads = [clients.submit(load_arrays, module, arrays) for module in modules for _ in range(250)]
    assert [load.exception() for load in loads if load.exception()] == []
