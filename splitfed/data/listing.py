"""What a folder or archive holds, by name: images, other files, and links that lead nowhere."""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from splitfed.data.source import Progress
from splitfed.errors import DataError

PICTURE_SUFFIXES = frozenset(
    {".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
)
"""What Pillow reads; .jfif is JPEG."""
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".zip")
MEMBERS_PER_REPORT = 500
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, RuntimeError)
"""What the readers raise; zipfile has RuntimeError for encrypted members."""

BROKEN_LINK, LINK_LOOP, ARCHIVED_LINK = "broken link", "link in a circle", "link in an archive"


@dataclass
class Listing:
    """The files below a folder or in an archive, as places relative to it, in the order in which they are read.

    Attributes:
        images: files with the suffix of an image.
        others: files with another suffix; hidden files and macOS's resource forks are nowhere.
        unusable: what has no content, by kind: links that lead nowhere or in a circle.
        empty: folders with nothing in them.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)

    def add(self, place: str, suffixes: frozenset[str]) -> None:
        """Put a file where it belongs."""
        if not is_hidden(place):
            (self.images if suffix_of(place) in suffixes else self.others).append(place)

    def skipped(self) -> dict[str, int]:
        """How many files are no images, by suffix, and how many links lead nowhere."""
        counts = Counter(suffix_of(place) or "no suffix" for place in self.others)
        return dict(sorted((counts + self.unusable).items()))


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be read here."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def suffix_of(place: str) -> str:
    """The last suffix of a file's name in lower case, with its dot; empty where there is none.

    >>> suffix_of("a.b/Scan.DCM"), suffix_of("a.b/IM0001")
    ('.dcm', '')
    """
    stem, dot, suffix = place.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem and dot else ""


def is_hidden(place: str) -> bool:
    """Whether a file or a folder above it is hidden, or belongs to macOS's bookkeeping."""
    return place.startswith("__MACOSX/") or "/." in f"/{place.removeprefix('./')}"


def list_files(path: Path, suffixes: frozenset[str], on_progress: Progress) -> Listing:
    """Everything in a folder or archive, by name.

    Raises:
        DataError: neither a folder nor an archive of a known kind, or one that cannot be read.
    """
    check_kind(path)
    listing = Listing()
    places = (place for place, _ in scan(path, listing)) if path.is_dir() else _archived(path, listing, on_progress)
    try:
        for place in places:
            listing.add(place, suffixes)
    except DAMAGED as error:
        raise damaged(path, 0, error) from error
    return listing


def scan(folder: Path, listing: Listing | None = None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below a folder with its place in it, by name; a folder may hold a hundred thousand.

    Links are followed. One that leads nowhere, or back to a folder that it lies in, is passed over and counted.
    """
    top = folder.stat()
    yield from _scan(folder, "", ((top.st_dev, top.st_ino),), listing or Listing())


def _scan(
    folder: Path | str, prefix: str, above: tuple[tuple[int, int], ...], listing: Listing
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        by_name = sorted(entries, key=lambda entry: entry.name)
    if not by_name:
        listing.empty.append(prefix.rstrip("/"))
    for entry in by_name:
        try:
            status = entry.stat()
        except OSError:  # the link's own error: nothing there, or a ring of links
            listing.unusable[BROKEN_LINK] += 1
            continue
        if not entry.is_dir():
            yield prefix + entry.name, entry
        elif (status.st_dev, status.st_ino) in above:
            listing.unusable[LINK_LOOP] += 1
        elif not entry.name.startswith("."):
            yield from _scan(entry.path, f"{prefix}{entry.name}/", (*above, (status.st_dev, status.st_ino)), listing)


def _archived(path: Path, listing: Listing, on_progress: Progress) -> Iterator[str]:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            yield from (name for name in archive.namelist() if not name.endswith("/"))
        return
    for entry, _ in tar_entries(path, lambda done, total: on_progress(f"listing {path.name}", done, total)):
        if entry.isfile():
            yield entry.name.removeprefix("./")
        elif not entry.isdir():
            listing.unusable[ARCHIVED_LINK] += 1


def tar_entries(
    path: Path, on_progress: Callable[[int, int], None]
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes] | None]]]:
    """The members of a packed tar, each with what opens it, read to the end of the packed stream."""
    total = path.stat().st_size
    # Decompressed here and not by tarfile, whose stream mode takes a compressed file that was cut between two
    # members for a complete one.
    decompressed = lzma.open if path.suffix.lower() == ".xz" else gzip.open
    with path.open("rb") as raw, decompressed(raw) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for number, entry in enumerate(archive):
            if number % MEMBERS_PER_REPORT == 0:
                on_progress(raw.tell(), total)
            yield entry, lambda entry=entry: archive.extractfile(entry)  # type: ignore[misc]
        while stream.read(1 << 20):  # to the end of the compressed stream, where its checksum stands
            pass


def check_kind(path: Path) -> None:
    """Refuse what is neither a folder nor an archive of a known kind.

    Raises:
        DataError: names what is read.
    """
    if not path.is_dir() and not is_archive(path):
        raise DataError(
            f"{path}: expected a folder or an archive ({', '.join(ARCHIVE_SUFFIXES)}); unpack it, or pack it as such"
        )


def damaged(path: Path, read: int, error: Exception) -> DataError:
    """What to say of one of `DAMAGED`, met after so many images."""
    return DataError(
        f"{path}: expected a whole {'folder' if path.is_dir() else 'archive'}, but after {read:,} images reading "
        f"failed ({str(error) or type(error).__name__}); copy or download it again"
    )
