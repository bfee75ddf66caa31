"""What the user's patterns leave of a listing: the images, the files beside them, and the folders above each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from typing import NoReturn
from unicodedata import normalize

from splitfed.data.listing import BROKEN_LINK, Listing, suffix_of
from splitfed.data.source import Selection
from splitfed.errors import DataError

DESCRIPTIONS = frozenset(
    {".csv", ".tsv", ".txt", ".json", ".xml", ".md", ".pdf", ".xls", ".xlsx", ".html", ".yaml", ".yml", ".rst", ".log"}
    | {".db", ".ini", ".py", ".ipynb", ".sh", ".rtf", ".doc", ".docx"}
)
"""Suffixes of files that describe images, and are no images that could not be read."""


@dataclass(frozen=True)
class Selected:
    """The files that count.

    Attributes:
        where: the folder or archive, for messages.
        selection: what the user decided.
        places: of the images.
        folders: above each image, outermost first.
        left_out: how many images the patterns leave out.
        unread: files that may have been meant as images, and cannot be read.
        told_of: folders that hold descriptions or nothing.
    """

    where: str
    selection: Selection
    places: list[str]
    folders: list[list[str]]
    left_out: int
    unread: list[str]
    told_of: list[list[str]]

    def names(self, level: int) -> set[str]:
        """The folders at this level, of files that could not be read too: they may be a class."""
        for place, folders in zip(self.places, self.folders, strict=True):
            if len(folders) < level:
                raise DataError(
                    f"{self.where}: {place}: expected in a subfolder named after its class, found in "
                    f"{'/'.join(folders) or self.where} itself; move it, or leave it out with "
                    f'data.exclude = ["{escape(place)}"]'
                )
        unread = map(folders_of, self.unread)
        return {folders[level - 1] for folders in (*self.folders, *unread) if len(folders) >= level}

    def refuse(self, found: str, way_out: str) -> NoReturn:
        """The folders could be read in several ways, or in none: say what was found, and the option that decides."""
        raise DataError(f"{self.where}: cannot tell what the folders mean: {found}; {way_out}")


def select(where: str, listing: Listing, selection: Selection) -> Selected:
    """What these patterns leave of this listing."""
    places = [place for place in listing.images if _selected(place, selection)]
    others = [place for place in listing.others if _selected(place, selection)]
    broken = [place for place, kind in listing.unusable if kind == BROKEN_LINK and _selected(place, selection)]
    told_of = [folders_of(place) for place in others if suffix_of(place) in DESCRIPTIONS]
    return Selected(
        where=where,
        selection=selection,
        places=places,
        folders=[folders_of(place) for place in places],
        left_out=len(listing.images) - len(places),
        unread=[place for place in others if suffix_of(place) not in DESCRIPTIONS] + broken,
        told_of=told_of + [place.split("/") for place in listing.empty],
    )


def folders_of(place: str) -> list[str]:
    """The folders above a file; macOS writes é as two characters, which are one here."""
    return [normalize("NFC", name) for name in place.split("/")[:-1]]


def _selected(place: str, selection: Selection) -> bool:
    normal = normalize("NFC", place)
    matches: Callable[[Iterable[str]], bool] = lambda patterns: any(  # noqa: E731
        fnmatchcase(normal, normalize("NFC", pattern)) for pattern in patterns
    )
    return (not selection.include or matches(selection.include)) and not matches(selection.exclude)
