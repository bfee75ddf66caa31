"""The shape of `results.json`; `results.schema.json` beside this file is the same for other programs.

Numbers that are not finite have no JSON form: they are stored as null, and the gate ``finite`` names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from splitfed.errors import UserError
from splitfed.records.ideal import IdealScore
from splitfed.records.linked import LinkedOracle
from splitfed.records.numbers import Interval, Number
from splitfed.records.paired import PairedDifference
from splitfed.records.record import Record, faults, misfit, of_json, to_json
from splitfed.records.spread import DefenseSummary
from splitfed.records.versions import reader_of, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA: Final = 2


class DatasetInfo(Record):
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
    note: str
    caveat: str
    identity: str
    images: dict[str, int]
    skipped: dict[str, int]
    remarks: tuple[str, ...]


class TrainingInfo(Record):
    """How all cells were trained, as the scenario's ``[federation]`` has it.

    ``codec`` is how tensors travel, ``variant`` "sflv1" or "sflv2", ``labels`` where they are, "server" or "client",
    ``client_fraction`` the share of the ``clients`` that trains in a round. ``repeats`` says whether another run under
    the same seeds and settings gives the same numbers; under "sflv2" with several clients at a time it does not.
    """

    clients: int
    client_fraction: float
    variant: str
    labels: str
    codec: str
    repeats: bool


class BaselineScore(Record):
    """How close a predictor comes that sees no activation: PSNR in dB and SSIM, means over images.

    ``ssim`` is over the whole map, ``ssim_cropped`` without the border of the window (`metrics.quality`).
    """

    psnr_db: Number
    ssim: Number
    ssim_cropped: Number


class ClientScore(Record):
    """What one client measured of an attack on its own images alone: means over ``n`` images; re-identification is
    among these."""

    psnr_db: Number
    ssim: Number
    reid_top1: Number
    reid_chance: Number
    n: int


class AttackScore(Record):
    """How close one attack or control came, over ``n`` of the ``sent`` images whose activations traveled in the
    ``phase`` that it attacked: AUDIT, under the final front, or TRAIN, in the round that its name has behind the @
    (``ridge@TRAIN4``). There each image is sent once per epoch, and each time counts. Intervals are 95 % bootstrap
    intervals of the mean.

    ``psnr_db_p99`` is the 99th percentile over images (the worst protected percent), ``psnr_excess_db`` the
    mean above the class-mean predictor, ``reid_top1`` in [0, 1] with its chance level beside it. ``ssim`` is over the
    whole map, ``ssim_cropped`` scikit-image's scalar, null for images below 11 pixels. ``fid_lite0``, ``fid``, and
    ``lite0_distance`` are of the strongest attack where the scenario asks for them, else null; the first two also for
    too few images. ``by_client`` has by its number what each client measured, where truth was with the clients;
    re-identification is then over all images, each sought among its own client's, and its chance the mean of theirs.
    One that ``added_nothing`` to what it starts from, the best closed form beneath a network, the class mean beneath a
    closed form, is no attack of its own; one ``at_cap`` was still improving when it ended. ``pool_mse`` is the mean
    squared error over those images that are in the cell's pool: what `IdealScore.mse` bounds.
    """

    psnr_db: Number
    psnr_db_ci95: Interval
    psnr_db_p99: Number
    psnr_excess_db: Number
    ssim: Number
    ssim_ci95: Interval
    ssim_cropped: Number
    reid_top1: Number
    reid_chance: Number
    n: int
    sent: int
    phase: Literal["AUDIT", "TRAIN"] = "AUDIT"
    fid_lite0: Number = None
    fid: Number = None
    lite0_distance: Number = None
    by_client: dict[str, ClientScore] = Field(default_factory=dict)
    added_nothing: bool = False
    pool_mse: Number = None
    at_cap: bool = False


class CellResult(Record):
    """One defense with its options, at one seed.

    ``strongest`` names the attack, of any phase, with the highest SSIM on the attacker's own validation images,
    ``figures`` are what the defense reports beside the scores. ``missed_rounds`` has by the client's number the rounds
    that it took no part in, or not in all of; 0 is the preparation, the number after the last round the audit. A cell
    that could not be trained has no scores, no attacks, and its reason under the gate ``completed``. Where it is
    ``sealed``, the attacker stood at a wire under TLS and saw ciphertext: it has no attacks either, is INVALID, and
    says nothing of the defense.

    ``reid`` is how often the image behind an activation is found among ``reid_pool`` victims of all clients, the same
    for every attack: the larger of ``reid_matched``, by the likelihood of each candidate given the activation and the
    front, and of every attack's ``reid_top1``. ``reid_by`` says which one, "matched" or the attack.
    ``reid_chance_in_class`` is the rate of guessing among candidates of the same class. All are null in results from
    before they were measured, and where each client judged its own images. ``ideal`` is what nobody can exceed, null
    too where the defense draws its noise by no known law. ``against_none`` has by score what the defense changes on the
    same images, against ``none`` at the same seed; empty for ``none``, and where there is none. ``linked_oracle`` is
    what an attacker would have who knew which observations are of one image; null where nothing is gained by that or it
    is not known.
    """

    cell: str
    defense: str
    params: dict[str, JsonValue]
    seed: int
    accuracy: Number
    train_accuracy: Number
    majority_rate: Number
    activation_bytes_per_image: Number
    wire_bytes_per_image: Number
    figures: dict[str, Number]
    missed_rounds: dict[str, tuple[int, ...]]
    train_s: Number
    attack_s: Number
    attacks: dict[str, AttackScore]
    controls: dict[str, AttackScore]
    strongest: str | None
    sealed: bool = False
    reid: Number = None
    reid_by: str | None = None
    reid_matched: Number = None
    reid_chance_in_class: Number = None
    reid_pool: int = 0
    ideal: IdealScore | None = None
    against_none: dict[str, PairedDifference] = Field(default_factory=dict)
    linked_oracle: LinkedOracle | None = None
    gates: dict[str, bool]
    gate_details: dict[str, str]
    valid: bool

    @property
    def strongest_score(self) -> AttackScore | None:
        """The scores of the strongest attack; None where nothing was observed."""
        return self.attacks[self.strongest] if self.strongest is not None else None

    @property
    def reid_rate(self) -> Number:
        """The headline of re-identification; that of the strongest attack where no other is known."""
        best = self.strongest_score
        return self.reid if self.reid is not None or best is None else best.reid_top1

    @property
    def audited_reid(self) -> Number:
        """The highest rate of re-identification from what was sent under the final front: what `ideal` bounds."""
        audited = [score.reid_top1 for score in self.attacks.values() if score.phase == "AUDIT"]
        return max((rate for rate in (self.reid_matched, *audited) if rate is not None), default=None)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.valid != all_passed(self.gates):
            raise ValueError(f"{self.cell}.valid: is {self.valid}, its gates say otherwise")
        if self.strongest is not None and self.strongest not in self.attacks:
            raise ValueError(f"{self.cell}.strongest: {self.strongest!r} is not among its attacks")
        return self


class Results(Record):
    """The whole of `results.json`. ``valid`` is true when there are cells and each of them is valid.

    ``vantage`` is where the attacker looked on: at the ``wire``, or at the ``server``. ``baselines`` are what
    predictors without any activation score, means over ``baselines_by_seed``, since each seed splits the images anew;
    ``metrics`` what the scenario asked for beside what is always measured. ``training`` is null in results from before
    it was recorded. ``truth`` says who held the private images that reconstructions were scored against: the lab, or
    each client its own.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[2] = Field(alias="schema")
    scenario: str
    threat: str
    vantage: Literal["wire", "server"] = "wire"
    dataset: DatasetInfo
    metrics: tuple[str, ...]
    truth: Literal["lab", "clients"] = "lab"
    baselines: dict[str, BaselineScore]
    cells: tuple[CellResult, ...]
    summary: tuple[DefenseSummary, ...]
    valid: bool
    training: TrainingInfo | None = None
    baselines_by_seed: dict[str, dict[str, BaselineScore]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [cell.cell for cell in self.cells]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"cells: {name!r} appears twice")
        if self.valid != all_valid(self.cells):
            raise ValueError(f"valid: is {self.valid}, its cells say otherwise")
        return self


_RESULTS = TypeAdapter(Results)


def read_results(path: Path, *, cure: str) -> Results:
    """The results in this file.

    Raises:
        UserError: it is damaged, of another schema, or a verdict contradicts the gates beneath it.
    """
    text = path.read_bytes()
    try:
        return of_json(_RESULTS, text)
    except ValidationError as error:
        raise UserError(_of_another_schema(path, text) or misfit(path, error, cure)) from None


def checked(results: Results) -> Results:
    """The same results as a reader would get them: what was changed in a copy is held against the rest.

    Raises:
        UserError: they contradict themselves, or a value is of the wrong type.
    """
    try:
        return of_json(_RESULTS, to_json(results))
    except ValidationError as error:
        raise UserError("\n  ".join(["results.json would not fit its schema:", *faults(error)])) from None


def all_valid(cells: Sequence[CellResult]) -> bool:
    """Whether a run with these cells is valid: there is at least one, and none failed a gate."""
    return bool(cells) and all(cell.valid for cell in cells)


def all_passed(gates: dict[str, bool]) -> bool:
    """Whether a cell with these gates is valid: there are some, and all passed."""
    return bool(gates) and all(gates.values())


def _of_another_schema(path: Path, text: bytes) -> str | None:
    """What to say of results that another version of splitfed wrote; None where that is not the fault."""
    found = schema_of(text)
    if found in (None, SCHEMA):
        return None
    cure = f"read it with {reader_of(found)}, or run the scenario anew"
    return f"{path} is of schema {found}, this version reads schema {SCHEMA}: {cure}"
