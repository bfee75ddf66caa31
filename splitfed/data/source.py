"""What a data set is to the rest of the package, and what a new one has to provide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitfed.errors import DataError

Progress = Callable[[str, int, int], None]
"""Called as (what, done, total) while a long reading or download goes on; the unit is the source's own."""


class Unavailable(DataError):
    """The data were found nowhere and could not be downloaded; a fallback may stand in."""


@dataclass(frozen=True)
class Request:
    """What a source is asked for.

    Attributes:
        size: edge of the images in pixels; None for the source's own choice.
        roots: the folders to look in, in this order; the last is the cache's own, which downloads go to.
        cache: where decoded images are kept.
        path: the folder or archive that the user named, which is then the only place to look.
        on_progress: told how far a long step has come.
        attribute: what the labels are, for a source that `takes_attribute`; None for its usual task.
    """

    size: int | None
    roots: tuple[Path, ...]
    cache: Path
    path: Path | None
    on_progress: Progress
    attribute: str | None = None


class Decoded(NamedTuple):
    """All images of a source: ``pixels`` uint8 (N, C, H, W), perhaps mapped from disk; ``labels`` int64 (N,).

    ``note`` says where they come from; ``caveat`` what must be said wherever a number comes from them, or nothing.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    note: str
    caveat: str = ""


class DatasetSource(ABC):
    """One data set by name. A plug-in offers an instance under the entry point group ``splitfed.datasets``.

    Attributes:
        name: what a scenario calls it.
        summary: one line for `splitfed datasets`.
        default_size: edge in pixels when none is asked for; None where the files decide.
        synthetic: whether the images are drawn, not taken; results then say so.
        takes_path: whether the user may name a folder or archive.
        takes_attribute: whether the user may choose what is to be told apart.
    """

    name: str
    summary: str
    default_size: int | None
    synthetic: bool = False
    takes_path: bool = True
    takes_attribute: bool = False

    @abstractmethod
    def read(self, request: Request) -> Decoded:
        """All images, decoded and resized.

        Raises:
            Unavailable: there are none here and none to be had.
            DataError: what is here is damaged or does not fit.
        """

    def fetch(self, request: Request, target: Path) -> Path | None:  # noqa: ARG002
        """Have the files on this machine: where they lie, or, downloaded, below ``target``.

        None where nothing has to be fetched, because the data ship with splitfed or are drawn.

        Raises:
            Unavailable: the download failed.
        """
        return None
