"""The shape of `results.json` (DESIGN, section 10), and the check that a file has it.

Numbers that are not finite have no JSON form: they are stored as null, and the gate ``finite`` names them.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NotRequired, cast

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from splitfed.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import TypeAdapter

SCHEMA = 1
Number = float | None
Interval = tuple[Number, Number]  # JSON gives a list of two back


class DatasetInfo(TypedDict):
    """What was trained on. ``shape`` is channels, height, width; counts are images.

    ``note`` says where the images come from, ``caveat`` what every figure on them must be read with, if anything;
    ``identity`` is a fingerprint of them, ``images`` the number in each class, ``skipped`` how many files of which
    suffix were no images, ``remarks`` what was decided about their folders.
    """

    name: str
    synthetic: bool
    shape: tuple[int, int, int]
    classes: int
    train: int
    aux: int
    test: int
    note: NotRequired[str]
    caveat: NotRequired[str]
    identity: NotRequired[str]
    images: NotRequired[dict[str, int]]
    skipped: NotRequired[dict[str, int]]
    remarks: NotRequired[list[str]]


class Score(TypedDict):
    """How close a predictor without training comes: PSNR in dB and SSIM, means over images."""

    psnr_db: Number
    ssim: Number
    psnr_db_ci95: NotRequired[Interval]
    psnr_db_p99: NotRequired[Number]
    psnr_excess_db: NotRequired[Number]
    ssim_ci95: NotRequired[Interval]
    ssim_cropped: NotRequired[Number]
    fid_lite0: NotRequired[Number]
    reid_top1: NotRequired[Number]
    reid_chance: NotRequired[Number]
    n: NotRequired[int]
    sent: NotRequired[int]


class AttackScore(TypedDict):
    """How close one attack came, over ``n`` of the ``sent`` images whose activations traveled under the final front;
    intervals are 95 % bootstrap intervals of the mean.

    ``psnr_db_p99`` is the 99th percentile over images (the worst protected percent), ``psnr_excess_db`` the
    mean above the class-mean predictor, ``ssim_cropped`` scikit-image's scalar (null for images below 11 pixels),
    ``reid_top1`` in [0, 1] with its chance level beside it. ``fid_lite0`` and
    ``fid`` are there where the scenario asks for them, for the strongest attack; null for too few images.
    """

    psnr_db: Number
    psnr_db_ci95: Interval
    psnr_db_p99: Number
    psnr_excess_db: Number
    ssim: Number
    ssim_ci95: Interval
    ssim_cropped: NotRequired[Number]
    reid_top1: Number
    reid_chance: Number
    n: int
    sent: NotRequired[int]
    fid_lite0: NotRequired[Number]
    fid: NotRequired[Number]


class CellResult(TypedDict):
    """One defense with its options, at one seed.

    ``strongest`` names the attack with the highest SSIM on the attacker's own validation images, ``figures`` are what
    the defense reports beside the scores. ``missed_rounds`` has by the client's number the rounds that it took no part
    in, or not in all of; 0 is the preparation, the number after the last round the audit. A cell that could not be
    trained has no scores, no attacks, and its reason under the gate ``completed``.
    """

    cell: str
    defense: str
    params: dict[str, Any]
    seed: int
    accuracy: Number
    majority_rate: Number
    activation_bytes_per_image: Number
    wire_bytes_per_image: Number
    figures: NotRequired[dict[str, Number]]
    missed_rounds: NotRequired[dict[str, list[int]]]
    train_s: Number
    attack_s: Number
    attacks: dict[str, AttackScore]
    controls: dict[str, Score]
    strongest: str | None
    gates: dict[str, bool]
    gate_details: dict[str, str]
    valid: bool


class Spread(TypedDict):
    """Mean and sample standard deviation over ``n`` seeds; no deviation for one."""

    mean: Number
    std: Number
    n: int


class DefenseSummary(TypedDict):
    """One defense with its options over its seeds (`repeats.summarize`), by measure."""

    defense: str
    params: dict[str, Any]
    seeds: list[int]
    valid: bool
    over_seeds: dict[str, Spread]
    difference_to_none: NotRequired[dict[str, Spread]]


class Results(TypedDict):
    """The whole of `results.json`. ``valid`` is true when there are cells and each of them is valid."""

    schema: int
    scenario: str
    threat: str
    dataset: DatasetInfo
    baselines: dict[str, Score]
    cells: list[CellResult]
    summary: NotRequired[list[DefenseSummary]]
    valid: bool


def validate_results(candidate: object) -> Results:
    """``candidate`` itself, once it is known to be a `Results`.

    Raises:
        UserError: a key is missing or of the wrong type, or a verdict contradicts the gates beneath it.
    """
    from pydantic import ValidationError

    try:
        # by way of JSON: there a list of two stands for a pair, and numbers are not taken from strings
        _adapter().validate_json(json.dumps(candidate), strict=True)
    except ValidationError as error:
        lines = (f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UserError("results.json does not fit its schema:\n" + "\n".join(lines)) from None
    results = cast("Results", candidate)
    contradictions = _contradictions(results)
    if contradictions:
        raise UserError("results.json contradicts itself:\n" + "\n".join(f"  {c}" for c in contradictions))
    return results


def all_valid(cells: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run with these cells is valid: there is at least one, and none failed a gate."""
    return bool(cells) and all(cell["valid"] for cell in cells)


def without_nonfinite(value: Any) -> Any:
    """The same JSON value with null in place of NaN and infinities."""
    if isinstance(value, dict):
        return {key: without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nonfinite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Results]:
    from pydantic import TypeAdapter

    return TypeAdapter(Results)


def _contradictions(results: Results) -> list[str]:
    found: list[str] = []
    if results["schema"] != SCHEMA:
        found.append(f"schema: is {results['schema']}, this version reads {SCHEMA}")
    names = [cell["cell"] for cell in results["cells"]]
    found += [f"cells: {name!r} appears twice" for name in sorted(set(names)) if names.count(name) > 1]
    for cell in results["cells"]:
        name, strongest = cell["cell"], cell["strongest"]
        if cell["valid"] != all(cell["gates"].values()):
            found.append(f"cells.{name}.valid: is {cell['valid']}, its gates say otherwise")
        if strongest is not None and strongest not in cell["attacks"]:
            found.append(f"cells.{name}.strongest: {strongest!r} is not among its attacks")
    if results["valid"] != all_valid(results["cells"]):
        found.append(f"valid: is {results['valid']}, its cells say otherwise")
    return found
