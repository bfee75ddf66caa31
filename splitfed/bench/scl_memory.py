"""Peak memory of a forward and backward pass, each in a fresh process, so that nothing else counts.

Read from /proc by hand: psutil knows no peak that can be started anew.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from splitfed.errors import UserError
from splitfed.models.sparse import SparseCodingLayer
from splitfed.models.sparse.lca import TIME_CONSTANT
from splitfed.models.sparse.spectrum import gram_kernel
from splitfed.runners.child import safe_path

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

WARM_UP_SAMPLES = 2


def ours_mib(layer: SparseCodingLayer, x: Tensor) -> float:
    """MiB that the layer's forward and backward pass add to the process, gradients included."""
    return _measured(_pass_of_ours, layer, x)


def unrolled_mib(layer: SparseCodingLayer, x: Tensor, iterations: int) -> float:
    """MiB of back-propagation through so many Euler steps of the reference LCA."""
    return _measured(_pass_of_reference, layer, x, iterations)


def _pass_of_ours(layer: SparseCodingLayer, x: Tensor) -> None:
    layer(x.requires_grad_()).square().sum().backward()


def _pass_of_reference(layer: SparseCodingLayer, x: Tensor, iterations: int) -> None:
    lateral = gram_kernel(layer.dictionary, layer.geometry.stride)
    canvas = layer.prepare(x.requires_grad_())
    drive = nn.functional.conv2d(canvas, layer.dictionary, stride=layer.geometry.stride)
    potential = torch.zeros_like(drive)
    codes = potential
    for _ in range(iterations):
        inhibition = nn.functional.conv2d(codes, lateral, padding=lateral.shape[-1] // 2) - codes
        potential = potential + (drive - potential - inhibition) / TIME_CONSTANT
        codes = (potential - layer.l1_weight).relu()
    codes.square().sum().backward()  # type: ignore[no-untyped-call]


def _measured(work: Any, layer: SparseCodingLayer, x: Tensor, *options: int) -> float:
    """Run ``work`` in a fresh process; MiB by which its resident memory grew at most."""
    if not Path("/proc/self/clear_refs").exists():
        raise UserError("`splitfed bench scl` reads peak memory from /proc, which this platform does not have")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, work, layer, x.numpy(), options, torch.get_num_threads())
    process = context.Process(target=_child, args=arguments)
    with safe_path():
        process.start()
    theirs.close()
    grown_kib: int = ours.recv()
    process.join()
    return grown_kib / 1024


def _child(
    pipe: Connection, work: Any, layer: SparseCodingLayer, pixels: Any, options: tuple[int, ...], threads: int
) -> None:
    torch.set_num_threads(threads)
    x = torch.from_numpy(pixels)
    work(layer, x[:WARM_UP_SAMPLES].clone(), *options)
    layer.zero_grad(set_to_none=True)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = _status_kib("VmRSS")
    work(layer, x, *options)
    pipe.send(_status_kib("VmHWM") - before)


def _status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
