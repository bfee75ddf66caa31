"""What a data set is to the rest of the package, and what a new one has to provide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
class Selection:
    """Which files of a folder or archive are images, and what their folders mean (docs/data.md).

    Attributes:
        include: patterns of the places to read, such as ``COVID/*``; none reads all.
        exclude: patterns of the places to leave out, such as ``*/masks/*``.
        class_level: the folder level, from 1 at the outermost, whose names are the classes; None finds it.
        group_level: the folder level whose names tell patients (or other groups) apart; None where there is none.
        window: center and width that pixels of more than 8 bits are shown through; None takes the file's own.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    class_level: int | None = None
    group_level: int | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Request:
    """What a source is asked for.

    Attributes:
        image_size: edge of the images in pixels; None for the source's own choice.
        roots: the folders to look in, in this order; the last is the cache's own, which downloads go to.
        cache: where decoded images are kept.
        path: the folder or archive that the user named, which is then the only place to look.
        on_progress: told how far a long step has come.
        attribute: what the labels are, for a source that `takes_attribute`; None for its usual task.
        selection: which files, and what their folders mean, for a source that `takes_selection`.
    """

    image_size: int | None
    roots: tuple[Path, ...]
    cache: Path
    path: Path | None
    on_progress: Progress
    attribute: str | None = None
    selection: Selection = Selection()


PARTS = ("train", "val", "test")
"""The published parts that folders and arrays may name; `Decoded.parts` holds positions in it."""


@dataclass(frozen=True)
class Found:
    """What a source met while it read, for the user to look at.

    Attributes:
        skipped: files that are no images, by suffix; links that lead nowhere are counted as ``broken link``.
        sizes: how many files have which size, ``height×width`` in pixels.
        depths: how many files have which bit depth, and what was done about more than 8 bits.
        remarks: what was decided about the folders, a sentence each.
    """

    skipped: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Decoded(NamedTuple):
    """All images of a source.

    Attributes:
        pixels: uint8, (N, C, H, W), perhaps mapped from disk.
        labels: int64, (N,), positions in ``classes``.
        classes: their names.
        note: where the images come from.
        caveat: what must be said wherever a number comes from them, or nothing.
        groups: int64, (N,), equal for images of one patient or other group; None where none is known.
        parts: uint8, (N,), positions in `PARTS`, where the publisher has split the images; else None.
        found: what was met while reading.
        location: the folder or file that was read; None where there is none.
        digests: a hash of each image, bytes (N,), where it is known already.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    note: str
    caveat: str = ""
    groups: NDArray[np.int64] | None = None
    parts: NDArray[np.uint8] | None = None
    found: Found = Found()
    location: Path | None = None
    digests: NDArray[np.bytes_] | None = None


class DatasetSource(ABC):
    """One data set by name. A plug-in offers an instance under the entry point group ``splitfed.datasets``.

    Attributes:
        name: what a scenario calls it.
        summary: one line for `splitfed datasets`.
        default_image_size: edge in pixels when none is asked for; None where the files decide.
        synthetic: whether the images are drawn, not taken; results then say so.
        takes_path: whether the user may name a folder or archive.
        takes_attribute: whether the user may choose what is to be told apart.
        takes_selection: whether the user may choose files and say what their folders mean.
    """

    name: str
    summary: str
    default_image_size: int | None
    synthetic: bool = False
    takes_path: bool = True
    takes_attribute: bool = False
    takes_selection: bool = False

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
