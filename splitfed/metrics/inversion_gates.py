"""The gates of class-level inversion: what must hold before its figures are believed.

Pure functions from evidence to a `GateResult`, as in `splitfed.metrics.gates`, whose gates `victim_unchanged`,
`completed`, and `finite` hold here, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from splitfed.metrics.class_inversion import Lift
from splitfed.metrics.gates import GateResult
from splitfed.types import Images

STANDARD_ERRORS = 3.0
"""Within so many of chance an untrained classifier gives nothing away."""
LEAST_MOVE = 1e-4
"""Below this, in units of the prior's spread, latents did not move."""


class Overlapping(Protocol):
    """What a generator's training images and the victims' have in common (`generators.disjoint.Overlap`)."""

    @property
    def known(self) -> bool: ...
    @property
    def equal(self) -> int: ...
    @property
    def near(self) -> int | None: ...
    @property
    def groups(self) -> int: ...
    @property
    def detail(self) -> str: ...


def inversion_lifts(over_random: Lift, *, margin: float) -> GateResult:
    """On the undefended classifier the attack beats random samples of its generator, by ``margin`` or more, and its
    interval lies above 0.

    An attacker that cannot do that against no defense says nothing about the others.

    Args:
        over_random: of the share that the evaluation model gives to the wanted class.
        margin: the scenario's, in [0, 1].
    """
    low, high = over_random.ci95
    passed = over_random.value >= margin and low > 0
    detail = (
        f"lift over random samples {over_random.value:+.3f} [{low:+.3f}, {high:+.3f}], at least {margin:+.3f} wanted"
    )
    return GateResult("inversion_lifts", passed, detail)


def untrained_at_chance(confusions: Sequence[Tensor]) -> GateResult:
    """An attack on classifiers that know nothing finds the wanted classes no more often than by chance.

    Images that are found for one class resemble each other, so classes are the unit, not images. Chance is what comes
    out when the wanted classes are dealt to the groups of images by lot: mean and standard error are those of the
    diagonal under all permutations (Hoeffding 1951). With few classes one classifier is not enough to tell, and that
    fails.

    Args:
        confusions: of each untrained classifier, (K, K): of the images found for class i, the share that the evaluation
            model gives to class j.
    """
    found, chance, variance = 0.0, 0.0, 0.0
    for confusion in confusions:
        found += float(confusion.diagonal().mean()) / len(confusions)
        chance += float(confusion.mean()) / len(confusions)
        variance += _variance_of_diagonal(confusion) / len(confusions) ** 2
    classes = len(confusions[0]) if confusions else 0
    needed = _classifiers_needed(classes)
    if len(confusions) < needed:
        detail = (
            f"{len(confusions)} untrained classifiers of {classes} classes cannot tell; at least {needed} are wanted"
        )
        return GateResult("untrained_at_chance", False, detail)
    error = math.sqrt(variance)
    detail = (
        f"untrained {found:.3f}, chance {chance:.3f}, standard error {error:.3f}: within {STANDARD_ERRORS:g} of these "
        "wanted"
    )
    # equal rows leave no error and no difference but rounding
    return GateResult("untrained_at_chance", abs(found - chance) <= STANDARD_ERRORS * error + 1e-9, detail)


def evaluator_fit(
    accuracy: float,
    accuracies: Sequence[float | None],
    *,
    wanted: float,
    asked: int,
    images: Images,
    others: Mapping[str, Images],
) -> GateResult:
    """The evaluation model knows the classes, is nobody else's, and was not asked while the attack went on.

    Args:
        accuracy: on held-out images of its own, in [0, 1].
        accuracies: the same by class; None where it was not measured.
        wanted: the scenario's, in [0, 1]. It may be low where the task is hard; it is stated with every figure.
        asked: images that it was asked about before the attack had ended.
        images: what it was trained on and judged by.
        others: whose images these must not be: the victims', the attacker's, those of the generator.
    """
    faults = [] if accuracy >= wanted else [f"accuracy {accuracy:.3f}, at least {wanted:.3f} wanted"]
    faults += [f"class {label} has accuracy 0" for label, share in enumerate(accuracies) if share == 0]
    faults += [f"it was asked about {asked:,} images while the attack went on"] if asked else []
    own = set(images.content_hashes())
    for who, theirs in others.items():
        shared = len(own & set(theirs.content_hashes()))
        faults += [f"{shared} of its images are {who}"] if shared else []
    detail = (
        f"accuracy {accuracy:.3f}, at least {wanted:.3f} wanted; {len(own):,} images of its own; never asked before"
    )
    return GateResult("evaluator_fit", not faults, "; ".join(faults) or detail)


def latents_moved(moved: Mapping[int, float]) -> GateResult:
    """The search did something: in one class at least latents differ from where they began.

    Args:
        moved: by class, root mean square over coordinates, in units of the prior's spread.
    """
    idle = [label for label, by in moved.items() if not by >= LEAST_MOVE]
    detail = f"by {min(moved.values(), default=0):.3f} to {max(moved.values(), default=0):.3f} of the prior's spread"
    if idle:
        detail += f"; not in {len(idle)} of {len(moved)} classes: {', '.join(map(str, idle))}"
    return GateResult("latents_moved", len(idle) < len(moved), detail)


def budget_kept(*, asked: int, answered: int, budget: int | None) -> GateResult:
    """The attack asked no more than it may, and its count is that of who answered.

    Args:
        asked: images, as the attacker counts them.
        answered: images, as who serves the classifier counts them.
        budget: the scenario's; None for no limit.
    """
    limit = "no limit" if budget is None else f"{budget:,} allowed"
    detail = f"{asked:,} asked, {answered:,} answered, {limit}"
    return GateResult("budget_kept", asked == answered and (budget is None or answered <= budget), detail)


def prior_disjoint(found: Overlapping, *, near_is_overlap: bool) -> GateResult:
    """The generator was not trained on the victims' images.

    Where it is not known what it was trained on, nothing can be held against it, and the detail says so.

    Args:
        found: of `generators.disjoint.overlap`.
        near_is_overlap: whether near-duplicates count: where the data were split to have none.
    """
    shared = bool(found.equal or found.groups or (near_is_overlap and found.near))
    return GateResult("prior_disjoint", not shared, found.detail)


def _variance_of_diagonal(confusion: Tensor) -> float:
    """Of the mean over the diagonal when rows are dealt to columns by a random permutation."""
    size = len(confusion)
    if size < 2:
        return 0.0
    values = confusion.double()
    apart = values - values.mean(dim=1, keepdim=True) - values.mean(dim=0, keepdim=True) + values.mean()
    return float(apart.square().sum()) / (size - 1) / size**2


def _classifiers_needed(classes: int) -> int:
    """So many that a perfect inversion of all of them lies more than `STANDARD_ERRORS` from chance: that of one lies
    (classes − 1) from it."""
    if classes < 2:
        return 1
    return math.floor((STANDARD_ERRORS / (classes - 1)) ** 2) + 1
