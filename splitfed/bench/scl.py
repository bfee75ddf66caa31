"""What the sparse coding layer costs, beside the reference LCA: one JSON line per case.

The reference is LCA as the field runs it: τ 100, 500 Euler steps, lateral kernel of (2k − 1)². The first layer codes
28×28 gray images, the second what the first makes of them, in batches of 64. Ours is solved until its mean objective
is no worse than the reference's; its time at the layer's own tolerance stands beside. Times are medians of repeats in
this one run, except that each reference is run once.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from splitfed.bench.arguments import positive
from splitfed.bench.measure import median_s, print_line, significant, timed
from splitfed.bench.scl_epoch import BATCH, LEARNING_STEPS, epoch
from splitfed.bench.scl_memory import ours_mib, unrolled_mib
from splitfed.data import Dataset, load
from splitfed.models.sparse import SparseCodingLayer, learn_dictionary
from splitfed.models.sparse.lca import lca
from splitfed.models.sparse.problem import Atoms, certify
from splitfed.models.sparse.solution import Solution, Stopping
from splitfed.models.sparse.spectrum import lipschitz_bound
from splitfed.types import Images

IMAGES = 6_000
REFERENCE_ITERATIONS = 500
UNROLLED_ITERATIONS = (10, 30)
"""Back-propagation through the reference is measured at these and extended to 500: its memory is linear in them."""
OURS = ("auto", "lgcd", "fista")
"""The solvers that are measured against the reference, which is the fourth, `lca`."""
MATMUL_EDGE = 1024
LOOSEST, TIGHTER = 0.2, 0.98
"""The tolerance to begin with, and by how much it is lowered until the objective is no worse than the reference's."""


@dataclass(frozen=True)
class Case:
    """A layer and the batch that it codes."""

    name: str
    layer: SparseCodingLayer
    x: Tensor


def main(argv: list[str] | None = None) -> int:
    """Run the cases and print their lines; 0."""
    parser = argparse.ArgumentParser(prog="splitfed bench scl", description=__doc__)
    parser.add_argument("--threads", type=positive, default=2, help="of PyTorch and of the solver (default 2)")
    parser.add_argument("--repeats", type=positive, default=5, help="of each timing of ours (default 5)")
    parser.add_argument("--solver", default="auto", choices=OURS, help="ours (default auto)")
    parser.add_argument("--data", default="medical_mnist", help="data set (default medical_mnist)")
    parser.add_argument("--data-root", default=None, help="a folder to look in first")
    parser.add_argument("--quick", action="store_true", help="the first layer only")
    parser.add_argument("--epoch", action="store_true", help="the epochs of the sca network only")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    images = _images(options.data, options.data_root)
    if options.epoch:
        print_line(epoch(images, options.solver))
        return 0
    print_line({"case": "machine", "threads": options.threads, "matmul_gmac_per_s": _matmul_rate(options.repeats)})
    first = _first_layer(images, options.solver, steps=LEARNING_STEPS)
    fresh = _first_layer(images, options.solver, steps=0)
    for name, layer in (("random", fresh), ("learned", first)):
        for l1_weight in (0.1, 0.5):
            layer.l1_weight = l1_weight
            print_line(_forward(Case(f"first layer, {name} atoms", layer, images.pixels[:BATCH]), options.repeats))
    if not options.quick:
        for case in _second_layer(first, images, options.solver):
            print_line(_forward(case, options.repeats))
            print_line(_backward(case, options.repeats))
            print_line(_memory(case))
            print_line(_warm_start(case, options.repeats))
        print_line(epoch(images, options.solver))
    return 0


def _images(name: str, root: str | None) -> Images:
    """6,000 images spread over the data set, 28×28; the drawn phantoms where it cannot be had."""

    def warn(message: str) -> None:
        sys.stderr.write(message + "\n")

    data: Dataset = load(name, image_size=28, data_root=root, fallback="phantoms", on_notice=warn)
    chosen = np.random.default_rng(0).permutation(len(data))[:IMAGES]
    print_line({"case": "data", "name": data.name, "synthetic": data.synthetic, "images": len(chosen)})
    return data.take(chosen)


def _first_layer(images: Images, solver: str, *, steps: int) -> SparseCodingLayer:
    """SCL(1→16) with a dictionary learned in so many steps."""
    generator = torch.Generator().manual_seed(0)
    layer = SparseCodingLayer(1, 16, solver=solver, generator=generator)
    learn_dictionary(layer, images.pixels, steps=steps, batch_size=BATCH, generator=generator)
    return layer


@torch.no_grad()
def _second_layer(first: SparseCodingLayer, images: Images, solver: str) -> list[Case]:
    """SCL(16→28) with random atoms, as training begins, and with learned ones, as it goes on; λ 0.5."""
    codes = torch.cat([first(images.pixels[i : i + BATCH]) for i in range(0, 4 * BATCH, BATCH)])
    x = nn.BatchNorm2d(16)(codes)
    generator = torch.Generator().manual_seed(1)
    fresh = SparseCodingLayer(16, 28, solver=solver, generator=generator)
    learned = SparseCodingLayer(16, 28, solver=solver, generator=torch.Generator().manual_seed(1))
    learn_dictionary(learned, x, steps=LEARNING_STEPS, batch_size=BATCH, generator=generator)
    return [
        Case("second layer, random atoms", fresh, x[:BATCH]),
        Case("second layer, learned atoms", learned, x[:BATCH]),
    ]


@torch.no_grad()
def _forward(case: Case, repeats: int) -> dict[str, Any]:
    """The layer's forward pass against the reference's 500 iterations."""
    layer = case.layer
    canvas, atoms = layer.prepare(case.x), Atoms(layer.dictionary, layer.geometry.stride)
    once = Stopping(tolerance=0, max_iterations=REFERENCE_ITERATIONS, check_every=REFERENCE_ITERATIONS)
    bound = lipschitz_bound(layer.dictionary, layer.geometry.stride)
    reference, reference_s = timed(lambda: lca(canvas, atoms, layer.l1_weight, bound, once))
    goal = _objective(canvas, atoms, reference, layer.l1_weight)
    usual = layer.tolerance
    usual_s = median_s(lambda: layer.solve(case.x), repeats)
    usual_objective = _objective(canvas, atoms, layer.solve(case.x), layer.l1_weight)
    layer.tolerance = LOOSEST
    solution = layer.solve(case.x)
    while _objective(canvas, atoms, solution, layer.l1_weight) > goal:
        layer.tolerance *= TIGHTER
        solution = layer.solve(case.x)
    ours_s = median_s(lambda: layer.solve(case.x), repeats)
    line = {
        "case": f"forward: {case.name}",
        "l1_weight": layer.l1_weight,
        "reference_s": round(reference_s, 3),
        "reference_objective": round(goal, 3),
        "reference_gap": significant(float(reference.relative_gap.max())),
        "solver": layer.report.solver,
        "ours_s": round(ours_s, 5),
        "objective": round(_objective(canvas, atoms, solution, layer.l1_weight), 3),
        "times_faster": round(reference_s / ours_s, 1),
        "tolerance": significant(layer.tolerance),
        "default_tolerance": usual,
        "seconds_at_default_tolerance": round(usual_s, 5),
        "objective_at_default_tolerance": round(usual_objective, 3),
        "times_faster_at_default_tolerance": round(reference_s / usual_s, 1),
        "relative_gap": significant(layer.report.relative_gap),
        "iterations": layer.report.iterations,
        "density": round(layer.report.density, 4),
        "gmac_per_s": round(float(solution.multiply_adds.sum()) / ours_s / 1e9, 1),
        "reference_gmac_per_s": round(float(reference.multiply_adds.sum()) / reference_s / 1e9, 1),
    }
    layer.tolerance = usual
    return line


def _backward(case: Case, repeats: int) -> dict[str, Any]:
    """Forward and backward in time, gradients of input and dictionary included."""
    x = case.x.clone().requires_grad_()
    weights = torch.randn(case.layer(x).shape, generator=torch.Generator().manual_seed(0))

    def both() -> None:
        (case.layer(x) * weights).sum().backward()

    forward_s = median_s(lambda: case.layer(x), repeats)
    both_s = median_s(both, repeats)
    report = case.layer.gradient_report
    return {
        "case": f"backward: {case.name}",
        "forward_s": round(forward_s, 5),
        "forward_and_backward_s": round(both_s, 5),
        "times_forward": round(both_s / forward_s, 2),
        "gradient_tolerance": case.layer.gradient_stopping.tolerance,
        "relative_residual": None if report is None else significant(report.relative_residual),
        "iterations": None if report is None else report.iterations,
    }


def _memory(case: Case) -> dict[str, Any]:
    """Peak memory of forward and backward, ours and that of back-propagation through the reference."""
    ours = ours_mib(case.layer, case.x)
    few, many = (unrolled_mib(case.layer, case.x, iterations) for iterations in UNROLLED_ITERATIONS)
    per_iteration = (many - few) / (UNROLLED_ITERATIONS[1] - UNROLLED_ITERATIONS[0])
    reference = many + per_iteration * (REFERENCE_ITERATIONS - UNROLLED_ITERATIONS[1])
    return {
        "case": f"memory: {case.name}",
        "ours_mib": round(ours, 1),
        "reference_mib": round(reference),
        "reference_measured_at_iterations": UNROLLED_ITERATIONS,
        "times_smaller": round(reference / ours, 1),
    }


@torch.no_grad()
def _warm_start(case: Case, repeats: int) -> dict[str, Any]:
    """Code a batch again after its dictionary moved by one fast update, from nothing and from the last codes."""
    last = case.layer.solve(case.x).codes
    case.layer.update_dictionary(case.x, last, rate=0.05)
    cold_s = median_s(lambda: case.layer.solve(case.x), repeats)
    warm_s = median_s(lambda: case.layer.solve(case.x, start=last), repeats)
    canvas, atoms = case.layer.prepare(case.x), Atoms(case.layer.dictionary, case.layer.geometry.stride)
    cold, warm = case.layer.solve(case.x), case.layer.solve(case.x, start=last)
    return {
        "case": f"warm start: {case.name}",
        "cold_s": round(cold_s, 5),
        "warm_s": round(warm_s, 5),
        "cold_objective": round(_objective(canvas, atoms, cold, case.layer.l1_weight), 3),
        "warm_objective": round(_objective(canvas, atoms, warm, case.layer.l1_weight), 3),
    }


def _objective(canvas: Tensor, atoms: Atoms, solution: Solution, l1_weight: float) -> float:
    """The mean objective of eq. 1, computed alike for every solver."""
    residual = canvas - atoms.synthesize(solution.codes)
    certificate = certify(canvas, solution.codes, residual, atoms.analyze(residual), l1_weight)
    return float(certificate.objective.mean())


def _matmul_rate(repeats: int) -> float:
    """Multiply-adds per second of a square matrix product, in 1e9: what the machine can do."""
    a = torch.rand(MATMUL_EDGE, MATMUL_EDGE)
    return round(MATMUL_EDGE**3 / median_s(lambda: a @ a, max(repeats, 5)) / 1e9, 1)
