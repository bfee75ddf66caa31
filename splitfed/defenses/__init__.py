"""Defenses by name. A plug-in adds its own through the entry point group ``splitfed.defenses``."""

from __future__ import annotations

from importlib.metadata import entry_points

from splitfed.defenses.base import Defense
from splitfed.defenses.gaussian import Gaussian
from splitfed.defenses.laplace import Laplace
from splitfed.defenses.mid import InformationBottleneck
from splitfed.defenses.none import NoDefense
from splitfed.defenses.sca import SparseCodingArchitecture
from splitfed.defenses.sca_noise import SparseCodingNoise
from splitfed.defenses.sparse_standard import SparseStandard
from splitfed.defenses.stack import Stack
from splitfed.errors import SplitfedError
from splitfed.types import Images

DEFENSES: dict[str, type[Defense]] = {
    defense.name: defense
    for defense in (
        NoDefense,
        Gaussian,
        Laplace,
        InformationBottleneck,
        SparseStandard,
        SparseCodingArchitecture,
        SparseCodingNoise,
        Stack,
    )
}
DEFENSES.update({point.name: point.load() for point in entry_points(group="splitfed.defenses")})

__all__ = ["DEFENSES", "Defense", "build", "check_generated"]


def check_generated(defense: Defense, own: Images, made: Images) -> None:
    """Whether a defense generated what it announced.

    Raises:
        SplitfedError: another number, shape or range of images.
    """
    wanted = (defense.generated(len(own)), *own.shape)
    if tuple(made.pixels.shape) != wanted or len(made.labels) != wanted[0]:
        raise SplitfedError(
            f"defense {defense.name}: generate() gave images {tuple(made.pixels.shape)} and {len(made.labels)} labels; "
            f"expected {wanted}: make generated() and generate() agree"
        )
    if len(made) and not (float(made.pixels.min()) >= 0 and float(made.pixels.max()) <= 1):
        raise SplitfedError(f"defense {defense.name}: generate() gave pixels that are not in [0, 1]; clamp them")


def build(name: str, options: dict[str, object]) -> Defense:
    """The defense of this name with these options, which the scenario has validated."""
    kind = DEFENSES[name]
    return kind(kind.Options.model_validate(options))
