"""What a folder or archive holds, by name: images, other files, and what has no content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from splitfed.data.archives import ARCHIVE_SUFFIXES, DAMAGED, archived_places, damaged, is_archive, legible
from splitfed.data.source import Progress
from splitfed.errors import DataError

PICTURE_SUFFIXES = frozenset(
    {".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
)
"""What Pillow reads; .jfif is JPEG."""
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
BROKEN_LINK, KNOWN_FOLDER, NO_FILE = "broken link", "link to a folder that is read already", "no regular file"


@dataclass
class Listing:
    """The files below a folder or in an archive, as places relative to it, in the order in which they are read.

    Attributes:
        images: files with the suffix of an image.
        others: files with another suffix; hidden files and macOS's resource forks are nowhere.
        unusable: places without content, with what they are: links that lead nowhere, pipes.
        empty: folders with nothing in them.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def add(self, place: str, suffixes: frozenset[str]) -> None:
        """Put a file where it belongs."""
        if not is_hidden(place):
            (self.images if suffix_of(place) in suffixes else self.others).append(place)

    def skipped(self) -> dict[str, int]:
        """How many files are no images, by suffix, and how many places have no content."""
        kinds = [suffix_of(place) or "no suffix" for place in self.others] + [kind for _, kind in self.unusable]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def suffix_of(place: str) -> str:
    """The last suffix of a file's name in lower case, with its dot; empty where there is none.

    >>> suffix_of("a.b/Scan.DCM"), suffix_of("a.b/IM0001")
    ('.dcm', '')
    """
    stem, dot, suffix = place.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem and dot else ""


def is_hidden(place: str) -> bool:
    """Whether a file or a folder above it is hidden, or belongs to macOS's bookkeeping."""
    return place.startswith("__MACOSX/") or "/." in f"/{place}"


def list_files(path: Path, suffixes: frozenset[str], on_progress: Progress) -> Listing:
    """Everything in a folder or archive, by name.

    Raises:
        DataError: neither a folder nor an archive of a known kind, or one that cannot be read.
    """
    check_kind(path)
    listing = Listing()
    try:
        if path.is_dir():
            for place, _ in scan(path, listing):
                listing.add(place, suffixes)
        else:
            for place, kind in archived_places(path, on_progress):
                listing.unusable.append((place, kind)) if kind else listing.add(place, suffixes)
    except DAMAGED as error:
        raise damaged(path, 0, error) from error
    return listing


def check_kind(path: Path) -> None:
    """Refuse what is neither a folder nor an archive of a known kind.

    Raises:
        DataError: names what is read.
    """
    if not path.is_dir() and not is_archive(path):
        raise DataError(
            f"{path}: expected a folder or an archive ({', '.join(ARCHIVE_SUFFIXES)}); unpack it, or pack it as such"
        )


def scan(folder: Path, listing: Listing | None = None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below a folder with its place in it, by name; a folder may hold a hundred thousand.

    Links are followed; each real folder is read once, so that a link back to one above it ends. What has no content
    is noted in ``listing``.
    """
    top = folder.stat()
    yield from _scan(folder, "", {(top.st_dev, top.st_ino)}, listing or Listing())


def _scan(
    folder: Path | str, prefix: str, read: set[tuple[int, int]], listing: Listing
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        # what is real comes before the links to it, which may have any name
        by_name = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    if not by_name:
        listing.empty.append(prefix.rstrip("/"))
    for entry in by_name:
        place = prefix + legible(entry.name)
        try:
            status = entry.stat()
        except OSError:  # the link's own error: nothing there, or a ring of links
            listing.unusable.append((place, BROKEN_LINK))
            continue
        if stat.S_ISREG(status.st_mode):
            yield place, entry
        elif not stat.S_ISDIR(status.st_mode):
            listing.unusable.append((place, NO_FILE))
        elif (status.st_dev, status.st_ino) in read:
            listing.unusable.append((place, KNOWN_FOLDER))
        elif not entry.name.startswith("."):
            read.add((status.st_dev, status.st_ino))
            yield from _scan(entry.path, f"{place}/", read, listing)
