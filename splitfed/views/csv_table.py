"""Every number of a run, one line per cell and attack, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from splitfed.records.results import AttackScore
from splitfed.views import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from splitfed.records.ideal import IdealScore
    from splitfed.records.linked import LinkedOracle
    from splitfed.records.record import Record
    from splitfed.records.results import BaselineScore, Results

CSV_FIELDS = (
    "scenario", "threat", "vantage", "dataset", "synthetic", "codec", "variant", "labels", "client_fraction",
    "cell", "defense", "params", "seed", "valid", "sealed", "failed_gates", "accuracy", "majority_rate",
    "activation_bytes_per_image", "wire_bytes_per_image", "train_s", "attack_s",
    "kind", "attack", "strongest", "psnr_db", "psnr_db_low", "psnr_db_high", "psnr_db_p99", "psnr_excess_db",
    "ssim", "ssim_low", "ssim_high", "ssim_cropped", "fid_lite0", "fid", "lite0_distance", "reid_top1",
    "reid_chance", "n", "sent", "phase", "added_nothing", "at_cap", "reid", "reid_by", "reid_matched",
    "reid_chance_in_class", "reid_pool",
    "pool_mse", "ideal_reid", "ideal_reid_error", "ideal_mse", "ideal_mse_error", "ideal_psnr_db", "information_bits",
    "information_bits_error", "information_bound_bits", "fano_top1", "fano_mse",
    "linked_observations", "linked_psnr_db", "linked_ssim", "linked_reid_matched",
)  # fmt: skip


def to_csv(results: Results) -> str:
    """Every number, one line per cell and attack (kind ``attack`` or ``control``, or ``none`` for a cell without any),
    then the baselines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_rows(results))
    return text.getvalue()


def csv_rows(results: Results) -> Iterator[dict[str, object]]:
    """The lines of `to_csv`, by column."""
    run = {
        "scenario": results.scenario,
        "threat": results.threat,
        "vantage": results.vantage,
        "dataset": results.dataset.name,
        "synthetic": results.dataset.synthetic,
        **(_listed(results.training) if results.training is not None else {}),
    }
    for cell in results.cells:
        shared = {**run, **_listed(cell), **_ideal(cell.ideal), **_linked(cell.linked_oracle)}
        shared["params"] = _params(cell.defense, cell.params)
        shared["failed_gates"] = ";".join(gate for _, gate, _ in summary.failed_gates(cell))
        if not (cell.attacks or cell.controls):
            yield {**shared, "kind": "none"}
        for kind, scores in (("attack", cell.attacks), ("control", cell.controls)):
            for name, score in scores.items():
                strongest = kind == "attack" and name == cell.strongest
                yield {**shared, **_csv_score(score), "kind": kind, "attack": name, "strongest": strongest}
    for name, baseline in results.baselines.items():
        yield {**run, **_csv_score(baseline), "kind": "baseline", "attack": name}


def _linked(oracle: LinkedOracle | None) -> dict[str, object]:
    """What linked observations would give; empty where that is not known."""
    if oracle is None:
        return {}
    return {f"linked_{name}": value for name, value in oracle if f"linked_{name}" in CSV_FIELDS}


def _params(defense: str, params: Mapping[str, object]) -> str:
    """Options as ``name=value;name=value``; those of a stack as its layers in words."""
    if defense == summary.STACK:
        return f"layers={summary.label(defense, params)}"
    return ";".join(f"{name}={value}" for name, value in params.items())


def _csv_score(score: AttackScore | BaselineScore) -> dict[str, object]:
    flat = _listed(score)
    if isinstance(score, AttackScore):
        flat["psnr_db_low"], flat["psnr_db_high"] = score.psnr_db_ci95
        flat["ssim_low"], flat["ssim_high"] = score.ssim_ci95
    return flat


def _ideal(ideal: IdealScore | None) -> dict[str, object]:
    if ideal is None:
        return {}
    renamed = {"ideal_reid": ideal.top1, "ideal_reid_error": ideal.top1_error, "ideal_psnr_db": ideal.psnr_db}
    return _listed(ideal) | renamed | {"ideal_mse": ideal.mse, "ideal_mse_error": ideal.mse_error}


def _listed(record: Record) -> dict[str, object]:
    """What of a record has a column."""
    return {name: value for name, value in record if name in CSV_FIELDS}
