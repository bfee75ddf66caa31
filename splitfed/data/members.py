"""The image files of a folder or archive, one after the other, straight out of an archive without unpacking it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from splitfed.data.listing import (
    DAMAGED,
    MEMBERS_PER_REPORT,
    PICTURE_SUFFIXES,
    check_kind,
    damaged,
    is_hidden,
    scan,
    suffix_of,
    tar_entries,
)
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
    reader = _from_folder if path.is_dir() else _from_zip if path.suffix.lower() == ".zip" else _from_tar
    wanted = None if places is None else frozenset(places)
    read = 0
    try:
        for member in reader(path, wanted, on_progress):
            if not flat and path.is_dir() and "/" not in member.place:
                raise DataError(
                    f"{path / member.place}: expected in a subfolder named after its class, found in {path} itself"
                )
            yield member
            read += 1
    except DAMAGED as error:
        raise damaged(path, read, error) from error


def identity(path: Path) -> str:
    """Tells two versions of a folder or archive apart without reading them whole.

    By where it lies, by every image's name, size and times of change, and by a sample of their content: a copy that
    keeps names, sizes and times is another version all the same.

    Raises:
        DataError: a folder or file that cannot be read.
    """
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=16)
    try:
        files = _files(path)
        for place, file in files:
            stat = file.stat()
            digest.update(f"{place}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}\n".encode())
        for _, file in files[:: max(1, len(files) // SAMPLED_FILES)]:
            digest.update(_sample(Path(file)))
    except OSError as error:
        raise damaged(path, 0, error) from error
    return digest.hexdigest()


def _files(path: Path) -> list[tuple[str, os.DirEntry[str] | Path]]:
    if not path.is_dir():
        return [(path.name, path)]
    return [(place, entry) for place, entry in scan(path) if not is_hidden(place)]


def _sample(file: Path) -> bytes:
    with file.open("rb") as opened:
        head = opened.read(SAMPLED_BYTES)
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - SAMPLED_BYTES))
        return head + opened.read(SAMPLED_BYTES)


def _chosen(place: str, wanted: frozenset[str] | None) -> bool:
    if wanted is None:
        return suffix_of(place) in PICTURE_SUFFIXES and not is_hidden(place)
    return place in wanted


def _from_folder(folder: Path, wanted: frozenset[str] | None, on_progress: Progress) -> Iterator[Member]:
    places = [place for place, _ in scan(folder) if _chosen(place, wanted)]
    for number, place in enumerate(places):
        if number % MEMBERS_PER_REPORT == 0:
            on_progress(f"decoding {folder.name}", number, len(places))
        yield Member(place, (folder / place).read_bytes())


def _from_zip(path: Path, wanted: frozenset[str] | None, on_progress: Progress) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        places = [place for place in archive.namelist() if _chosen(place, wanted)]
        for number, place in enumerate(places):
            if number % MEMBERS_PER_REPORT == 0:
                on_progress(f"decoding {path.name}", number, len(places))
            yield Member(place, archive.read(place))


def _from_tar(path: Path, wanted: frozenset[str] | None, on_progress: Progress) -> Iterator[Member]:
    for entry, opened in tar_entries(path, lambda done, total: on_progress(f"decoding {path.name}", done, total)):
        place = entry.name.removeprefix("./")
        file = opened() if entry.isfile() and _chosen(place, wanted) else None
        if file is not None:
            yield Member(place, file.read())
