"""The image files of a folder or archive, one after the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from splitfed.data.archives import DAMAGED, MEMBERS_PER_REPORT, damaged, read_archived
from splitfed.data.listing import DICOM_SUFFIXES, PICTURE_SUFFIXES, Listing, check_kind, is_hidden, scan, suffix_of
from splitfed.data.source import Progress
from splitfed.errors import DataError

SAMPLED_FILES = 64
SAMPLED_BYTES = 4096
"""Of the beginning and the end of each sampled file."""


class Member(NamedTuple):
    """One image file: its place in the folder or archive, for messages and order, and its bytes."""

    place: str
    data: bytes

    @property
    def class_name(self) -> str:
        """The folder that the file lies in; empty at the top."""
        return self.place.rpartition("/")[0].rpartition("/")[2]


def members(
    path: Path, on_progress: Progress, *, places: Collection[str] | None = None, flat: bool = False
) -> Iterator[Member]:
    """The files at these places, or every picture; unless ``flat``, each lies in some class folder.

    Raises:
        DataError: the archive is of another kind, truncated or damaged, or a file cannot be read.
    """
    check_kind(path)
    wanted = _is_picture if places is None else frozenset(places).__contains__
    reader = _from_folder if path.is_dir() else read_archived
    read = 0
    try:
        for place, data in reader(path, wanted, on_progress):
            if not flat and path.is_dir() and "/" not in place:
                raise DataError(
                    f"{path / place}: expected in a subfolder named after its class, found in {path} itself"
                )
            yield Member(place, data)
            read += 1
    except DAMAGED as error:
        raise damaged(path, read, error) from error


def identity(path: Path) -> str:
    """Tells two versions of a folder or archive apart without reading them whole.

    By where it lies, by every file's name, size and times of change, and by a sample of the images' content: a copy
    that keeps names, sizes and times is another version all the same.

    Raises:
        DataError: a folder or file that cannot be read.
    """
    digest = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=16)
    try:
        listing = Listing()
        files = _files(path, listing)
        for place, file in files:
            stat = file.stat()
            digest.update(f"{place}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}\n".encode())
        digest.update(repr((listing.empty, listing.unusable)).encode())
        images = [
            file for place, file in files if suffix_of(place) in PICTURE_SUFFIXES | DICOM_SUFFIXES or file is path
        ]
        for file in images[:: max(1, len(images) // SAMPLED_FILES)]:
            digest.update(_sample(Path(file)))
    except OSError as error:
        raise damaged(path, 0, error) from error
    return digest.hexdigest()


def _files(path: Path, listing: Listing) -> list[tuple[str, os.DirEntry[str] | Path]]:
    if not path.is_dir():
        return [(path.name, path)]
    return [(place, entry) for place, entry in scan(path, listing) if not is_hidden(place)]


def _sample(file: Path) -> bytes:
    with file.open("rb") as opened:
        head = opened.read(SAMPLED_BYTES)
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - SAMPLED_BYTES))
        return head + opened.read(SAMPLED_BYTES)


def _is_picture(place: str) -> bool:
    return suffix_of(place) in PICTURE_SUFFIXES and not is_hidden(place)


def _from_folder(folder: Path, wanted: Callable[[str], bool], on_progress: Progress) -> Iterator[tuple[str, bytes]]:
    files = [(place, entry.path) for place, entry in scan(folder) if wanted(place)]
    for number, (place, path) in enumerate(files):
        if number % MEMBERS_PER_REPORT == 0:
            on_progress(f"decoding {folder.name}", number, len(files))
        yield place, Path(path).read_bytes()
