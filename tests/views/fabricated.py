"""A made-up run with the proportions of a real one, for the views to show: no number here was measured."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from splitfed.records import events
from splitfed.records.ideal import IdealScore
from splitfed.records.linked import LinkedOracle
from splitfed.records.manifest import Manifest, Provenance
from splitfed.records.paired import PairedDifference
from splitfed.records.results import (
    SCHEMA,
    AttackScore,
    BaselineScore,
    CellResult,
    DatasetInfo,
    Results,
    TrainingInfo,
    all_valid,
)
from splitfed.records.strips import save_strip
from splitfed.records.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from splitfed.records.strips import Pixels

START_S = 1_700_000_000.0
CELLS = ("none-seed0", "laplace-seed0", "sca-seed0")
ROUNDS, CLIENTS, STEPS = 5, 3, 32
TILE = 28


def attack_score(psnr_db: float, ssim: float, *, reid: float = 0.5, n: int = 6000, sent: int = 6000) -> AttackScore:
    return AttackScore(
        psnr_db=psnr_db,
        psnr_db_ci95=(psnr_db - 0.1, psnr_db + 0.1),
        psnr_db_p99=psnr_db + 5,
        psnr_excess_db=psnr_db - 19.5,
        ssim=ssim,
        ssim_ci95=(ssim - 0.003, ssim + 0.003),
        ssim_cropped=ssim - 0.1,
        reid_top1=reid,
        reid_chance=0.001,
        n=n,
        sent=sent,
        pool_mse=10 ** (-psnr_db / 10),
    )


def ideal_score(channel: Literal["none", "gaussian", "laplace"] = "none") -> IdealScore:
    """Of a front that tells all apart, or of noise that leaves a part."""
    noisy = channel != "none"
    return IdealScore(
        channel=channel,
        observations=1,
        draws=4 if noisy else 1,
        top1=0.88 if noisy else 1.0,
        top1_error=0.002 if noisy else 0.0,
        mse=0.001 if noisy else 0.0,
        mse_error=1e-5 if noisy else 0.0,
        information_bits=9.7 if noisy else 9.97,
        information_bits_error=0.01 if noisy else 0.0,
        information_bound_bits=61.2 if noisy else None,
        fano_top1=0.97 if noisy else 1.0,
        fano_mse=1e-4 if noisy else 0.0,
    )


def against_none(psnr_db: float, ssim: float) -> dict[str, PairedDifference]:
    names = ("decoder", "decoder")
    return {
        "psnr_db": PairedDifference(mean=psnr_db, ci95=(psnr_db - 0.2, psnr_db + 0.2), n=6000, attacks=names),
        "ssim": PairedDifference(mean=ssim, ci95=(ssim - 0.01, ssim + 0.01), n=6000, attacks=names),
    }


def cell_result(
    defense: str = "none",
    *,
    seed: int = 0,
    psnr_db: float = 28.5,
    ssim: float = 0.85,
    accuracy: float = 0.992,
) -> CellResult:
    params: dict[str, dict[str, JsonValue]] = {"none": {}, "laplace": {"scale": 0.5}, "sca": {"l1_weight": 0.5}}
    return CellResult(
        cell=f"{defense}-seed{seed}",
        defense=defense,
        params=params[defense],
        seed=seed,
        accuracy=accuracy,
        train_accuracy=accuracy,
        majority_rate=0.17,
        activation_bytes_per_image=2000,
        wire_bytes_per_image=2050.5,
        figures={},
        missed_rounds={},
        train_s=31.0,
        attack_s=40.0,
        attacks={
            "ridge": attack_score(psnr_db - 1, ssim - 0.05),
            "decoder": attack_score(psnr_db, ssim, reid=0.86),
        },
        controls={"untrained": attack_score(8.1, 0.02, reid=0.001)},
        strongest="decoder",
        reid=0.86,
        reid_by="decoder",
        reid_matched=0.85,
        reid_chance_in_class=0.006,
        reid_pool=1000,
        against_none={} if defense == "none" else against_none(psnr_db - 28.5, ssim - 0.85),
        ideal=None if defense == "sca" else ideal_score("laplace" if defense == "laplace" else "none"),
        gates={"attack_learned": True, "victim_unchanged": True, "finite": True},
        gate_details={"attack_learned": "training loss 0.09 to 0.01 in 38 epochs, weights moved"},
        valid=True,
    )


def linked_oracle(psnr_db: float = 23.4, audit_psnr_db: float = 22.1) -> LinkedOracle:
    """What five observations of each of 500 images give."""
    return LinkedOracle(
        observations=5.0,
        n=500,
        psnr_db=psnr_db,
        ssim=0.75,
        reid_matched=0.92,
        audit_psnr_db=audit_psnr_db,
        audit_ssim=0.71,
        audit_reid_matched=0.745,
    )


def changed(cell: CellResult, /, **values: object) -> CellResult:
    """The same cell but for these."""
    return cell.model_copy(update=values)


def run_results(*cells: CellResult, synthetic: bool = False) -> Results:
    listed = cells or (
        cell_result("none"),
        cell_result("laplace", psnr_db=22.4, ssim=0.69, accuracy=0.991),
        cell_result("sca", psnr_db=24.1, ssim=0.74, accuracy=0.978),
    )
    return Results(
        schema=SCHEMA,
        scenario="medmnist_split",
        threat="split",
        dataset=DatasetInfo(
            name="phantoms" if synthetic else "medical_mnist",
            synthetic=synthetic,
            shape=(1, TILE, TILE),
            classes=6,
            train=6000,
            aux=6000,
            test=3000,
            note="made up",
            caveat="",
            identity="00",
            images={"hand": 10_000},
            skipped={".txt": 1},
            remarks=(),
        ),
        metrics=(),
        baselines={
            "mean_image": BaselineScore(psnr_db=12.9, ssim=0.253, ssim_cropped=0.21),
            "class_mean": BaselineScore(psnr_db=19.5, ssim=0.545, ssim_cropped=0.439),
        },
        cells=listed,
        summary=summarize(listed),
        valid=all_valid(listed),
        training=TrainingInfo(
            clients=3, client_fraction=1.0, variant="sflv1", labels="server", codec="float32", repeats=True
        ),
    )


def empty_results() -> Results:
    """Those of a run of which no cell has finished."""
    return run_results().model_copy(update={"cells": (), "summary": (), "valid": False})


def manifest(scenario: Mapping[str, Any] | None = None, *, created: str = "2026-01-01T00:00:00.000+00:00") -> Manifest:
    """What a run was started with, on a machine that is nobody's."""
    return Manifest(
        schema=2,
        created=created,
        scenario=dict(scenario or {"name": "medmnist_split"}),
        images=Provenance(
            name="medical_mnist",
            synthetic=False,
            identity="00",
            images=58_954,
            image_size=TILE,
            location=Path("/data/medical_mnist"),
            root=Path("/data"),
        ),
        python="3.11.0",
        platform="Linux",
        cpu="none",
        cores=2,
        memory_bytes=2**34,
        versions={"splitfed": "0.2.0", "torch": None},
        commit=None,
        modified=None,
    )


def broken(cell: CellResult, gate: str = "attack_learned", detail: str = "training loss rose") -> CellResult:
    """The same cell with one gate failed."""
    gates, details = {**cell.gates, gate: False}, {**cell.gate_details, gate: detail}
    return changed(cell, gates=gates, gate_details=details, valid=False)


def not_trained(cell: CellResult, reason: str = "round 1: no client finished; lower the learning rate") -> CellResult:
    """The same cell where it could not be trained: no scores, and the reason."""
    unknown = (
        "accuracy", "train_accuracy", "activation_bytes_per_image", "wire_bytes_per_image", "train_s", "attack_s",
        "strongest",
    )  # fmt: skip
    return changed(
        cell,
        **dict.fromkeys(unknown),
        attacks={},
        controls={},
        gates={"completed": False, "attack_beats_class_mean": True},
        gate_details={"completed": reason},
        valid=False,
    )


def images(count: int = 6, *, channels: int = 1, blur: float = 0.0) -> Pixels:
    """Rings of growing radius, (count, channels, TILE, TILE) in [0, 1]; ``blur`` fades them to gray."""
    row, column = np.mgrid[0:TILE, 0:TILE] - (TILE - 1) / 2
    radius = np.hypot(row, column)
    rings = [np.exp(-(((radius - 3 - 1.5 * number) / 2) ** 2)) for number in range(count)]
    stack = np.stack(rings)[:, None].repeat(channels, axis=1)
    return np.asarray((1 - blur) * stack + blur * 0.4, dtype=np.float32)


def run_events(run_dir: Path, *, synthetic: bool = False) -> list[events.Event]:
    """All events of a whole run, one a second, with strips written under ``run_dir``."""
    return list(_run_events(run_dir, synthetic))


def _run_events(run_dir: Path, synthetic: bool) -> Iterator[events.Event]:
    results = run_results(synthetic=synthetic)
    clock = itertools.count(START_S)
    yield events.RunStarted(
        time_s=next(clock),
        scenario="medmnist_split",
        run_dir=str(run_dir),
        threat="split",
        dataset=results.dataset.name,
        synthetic=synthetic,
        cells=CELLS,
    )
    for cell in results.cells:
        yield from _cell_events(run_dir, cell, clock)
        yield events.CellFinished(time_s=next(clock), cell=cell.cell, result=cell)
    yield events.RunFinished(time_s=next(clock), results=results, valid=True)


def _cell_events(run_dir: Path, cell: CellResult, clock: Iterator[float]) -> Iterator[events.Event]:
    name = cell.cell
    yield events.CellStarted(
        time_s=next(clock),
        cell=name,
        defense=cell.defense,
        seed=cell.seed,
        rounds=ROUNDS,
        clients=CLIENTS,
    )
    for done in range(0, 101, 25):
        yield events.PrepareProgress(
            time_s=next(clock), cell=name, what="learning the dictionary", done=done, total=100
        )
    for number in range(1, ROUNDS + 1):
        yield from _round_events(name, number, cell.accuracy or 0.0, clock)
        yield from _attack_events(run_dir, cell, number, clock)
    yield from _attack_events(run_dir, cell, ROUNDS, clock, final=True)


def _round_events(cell: str, number: int, accuracy: float, clock: Iterator[float]) -> Iterator[events.Event]:
    for step, client in itertools.product(range(STEPS // 4, STEPS + 1, STEPS // 4), range(CLIENTS)):
        steps_done = (number - 1) * STEPS + step
        yield events.ClientProgress(
            time_s=next(clock),
            cell=cell,
            round=number,
            client=client,
            step=step,
            steps=STEPS,
            loss=1.8 * 0.97**steps_done + 0.05 * client,
            images_per_s=900.0 + 40 * client,
            sent_bytes=steps_done * 64 * 2050,
        )
    yield events.RoundFinished(
        time_s=next(clock),
        cell=cell,
        round=number,
        rounds=ROUNDS,
        loss=1.8 * 0.97 ** (number * STEPS),
        accuracy=accuracy - 0.3 * 0.4**number,
    )


def _attack_events(
    run_dir: Path, cell: CellResult, number: int, clock: Iterator[float], *, final: bool = False
) -> Iterator[events.Event]:
    learned = 1.0 if final else 1 - 0.5**number
    strip = f"cells/{cell.cell}/strip.png"
    for name, score in cell.attacks.items():
        save_strip(run_dir / strip, images(), images(blur=0.9 - 0.6 * learned))
        yield events.AttackProgress(
            time_s=next(clock),
            cell=cell.cell,
            attack=name,
            round=number,
            epoch=4 * number,
            train_loss=0.09 - 0.08 * learned,
            psnr_db=(score.psnr_db or 0.0) - 12 * (1 - learned),
            ssim=(score.ssim or 0.0) * learned,
            reid_top1=(score.reid_top1 or 0.0) * learned,
            strip=strip,
            strip_tile=TILE,
            final=final,
        )
