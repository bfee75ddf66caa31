"""Defenses by name. A plug-in adds its own through the entry point group ``splitfed.defenses``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from splitfed.defenses.base import Defense
from splitfed.defenses.bido import Bido
from splitfed.defenses.dpsgd import DPSGD
from splitfed.defenses.gan import GanDefense
from splitfed.defenses.gaussian import Gaussian
from splitfed.defenses.gong import Gong
from splitfed.defenses.gong_plus import GongPlus
from splitfed.defenses.laplace import Laplace
from splitfed.defenses.mid import InformationBottleneck
from splitfed.defenses.none import NoDefense
from splitfed.defenses.nopeek import NoPeek
from splitfed.defenses.registry import DEFENSES, build
from splitfed.defenses.sca import SparseCodingArchitecture
from splitfed.defenses.sca_noise import SparseCodingNoise
from splitfed.defenses.sparse_standard import SparseStandard
from splitfed.defenses.stack import Stack
from splitfed.errors import SplitfedError
from splitfed.metrics.findings import Finding
from splitfed.models.front import Front
from splitfed.plugins import Fault, numbers, of, registry
from splitfed.types import Images


def _findings(given: Any) -> str | None:
    """What `Defense.findings` must give."""
    if not isinstance(given, list | tuple):
        return f"gave {type(given).__name__}; expected a list of Finding"
    odd = [finding for finding in given if not isinstance(finding, Finding)]
    return f"gave {odd[0]!r} in its list; expected a Finding(acts, detail)" if odd else None


def _regularizer(given: Any) -> str | None:
    """What `Defense.regularizer` must give."""
    wrong = of(Tensor, type(None))(given)
    if wrong is None and given is not None and given.numel() != 1:
        return f"gave {tuple(given.shape)}; expected one number, a scalar with gradient"
    return wrong


FAULTS: dict[str, Fault] = {
    "begin_round": of(Defense),
    "build_front": of(Front),
    "released": of(int),
    "prepare_rounds": of(int),
    "generated": of(int),
    "generate": of(Images),
    "protect": of(Tensor),
    "regularizer": _regularizer,
    "measures": numbers,
    "expected": of(Tensor),
    "findings": _findings,
    "figures": numbers,
}
"""By method of a plug-in, what may be wrong with what it gives."""

DEFENSES.take_over(
    registry(
        "defense",
        "splitfed.defenses",
        Defense,  # type: ignore[type-abstract]
        (
            NoDefense,
            Gaussian,
            Laplace,
            GanDefense,
            Gong,
            GongPlus,
            InformationBottleneck,
            NoPeek,
            Bido,
            DPSGD,
            SparseStandard,
            SparseCodingArchitecture,
            SparseCodingNoise,
            Stack,
        ),
        declares=("name", "about", "source"),
        faults=FAULTS,
    )
)

__all__ = ["DEFENSES", "Defense", "build", "check_generated", "check_protected", "describe"]


def describe() -> list[tuple[str, str]]:
    """The name of every defense with one line on it, then the plug-ins that are broken, each with the reason."""
    return DEFENSES.describe(lambda defense: f"{defense.about} — {defense.source}")


def check_protected(defense: Defense, output: Tensor, protected: Tensor, width: int, *, client: int) -> None:
    """Whether what a defense lets leave the client is what it announced.

    Raises:
        SplitfedError: another shape than (B, released), or numbers that are not finite.
    """
    wanted = (len(output), defense.released(width))
    if tuple(protected.shape) != wanted:
        raise SplitfedError(
            f"client-{client}, defense {defense.name}: protect() gave {tuple(protected.shape)} for a front's output "
            f"{tuple(output.shape)}; expected {wanted}: make released() and protect() agree"
        )
    if not bool(protected.isfinite().all()):
        diverged = not bool(output.isfinite().all())
        cure = "the front has diverged: lower federation.learning_rate" if diverged else "keep the mechanism finite"
        raise SplitfedError(f"client-{client}, defense {defense.name}: protect() gave NaN or infinity; {cure}")


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
