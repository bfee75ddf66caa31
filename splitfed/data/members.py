"""Image files with their class, from a folder or straight out of an archive, without unpacking it to disk."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from splitfed.data.source import Progress
from splitfed.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".zip")
MEMBERS_PER_REPORT = 500
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, RuntimeError)
"""What the readers raise; zipfile has RuntimeError for encrypted members."""


class Member(NamedTuple):
    """One image file: the folder that it lies in, its place (for messages and order) and its bytes."""

    class_name: str
    place: str
    data: bytes


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that `members` reads."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def members(path: Path, on_progress: Progress, *, flat: bool = False) -> Iterator[Member]:
    """Every image file in a folder or archive; unless ``flat``, each lies in some class folder.

    Raises:
        DataError: the archive is of another kind, truncated or damaged, or a file cannot be read.
    """
    if not path.is_dir() and not is_archive(path):
        raise DataError(
            f"{path}: expected a folder or an archive ({', '.join(ARCHIVE_SUFFIXES)}); unpack it, or pack it as such"
        )
    reader = _from_folder if path.is_dir() else _from_zip if path.suffix.lower() == ".zip" else _from_tar
    read = 0
    try:
        for member in reader(path, on_progress):
            if not flat and path.is_dir() and "/" not in member.place:
                raise DataError(
                    f"{path / member.place}: expected in a subfolder named after its class, found in {path} itself"
                )
            yield member
            read += 1
    except _DAMAGED as error:
        raise DataError(
            f"{path}: expected a whole {'folder' if path.is_dir() else 'archive'}, but after {read:,} images reading "
            f"failed ({str(error) or type(error).__name__}); copy or download it again"
        ) from error


def identity(path: Path) -> str:
    """Tells two versions of a folder or archive apart by sizes and times of change, without reading them."""
    digest = hashlib.blake2b(digest_size=16)
    files = ((place, file.stat()) for place, file in _scan(path)) if path.is_dir() else [(path.name, path.stat())]
    for place, stat in files:
        digest.update(f"{place}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _is_image(place: str) -> bool:
    hidden = place.startswith("__MACOSX/") or "/." in f"/{place.removeprefix('./')}"
    return "." + place.rpartition(".")[2].lower() in IMAGE_SUFFIXES and not hidden


def _class_of(place: str) -> str:
    """The name of the folder that the file lies in; empty at the top."""
    return place.rpartition("/")[0].rpartition("/")[2]


def _scan(folder: Path | str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every image below a folder with its place in it, by name; a folder may hold a hundred thousand."""
    with os.scandir(folder) as entries:
        by_name = sorted(entries, key=lambda entry: entry.name)
    for entry in by_name:
        if entry.is_dir():
            yield from _scan(entry.path, f"{prefix}{entry.name}/")
        elif _is_image(prefix + entry.name):
            yield prefix + entry.name, entry


def _from_folder(folder: Path, on_progress: Progress) -> Iterator[Member]:
    places = [place for place, _ in _scan(folder)]
    for number, place in enumerate(places):
        if number % MEMBERS_PER_REPORT == 0:
            on_progress(f"decoding {folder.name}", number, len(places))
        yield Member(_class_of(place), place, (folder / place).read_bytes())


def _from_zip(path: Path, on_progress: Progress) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        places = [place for place in archive.namelist() if _is_image(place)]
        for number, place in enumerate(places):
            if number % MEMBERS_PER_REPORT == 0:
                on_progress(f"decoding {path.name}", number, len(places))
            yield Member(_class_of(place), place, archive.read(place))


def _from_tar(path: Path, on_progress: Progress) -> Iterator[Member]:
    total = path.stat().st_size
    # Decompressed here and not by tarfile, whose stream mode takes a compressed file that was cut between two
    # members for a complete one.
    decompressed = lzma.open if path.suffix.lower() == ".xz" else gzip.open
    with path.open("rb") as raw, decompressed(raw) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for number, entry in enumerate(archive):
            if number % MEMBERS_PER_REPORT == 0:
                on_progress(f"decoding {path.name}", raw.tell(), total)
            file = archive.extractfile(entry) if entry.isfile() and _is_image(entry.name) else None
            if file is not None:
                yield Member(_class_of(entry.name), entry.name, file.read())
        while stream.read(1 << 20):  # to the end of the compressed stream, where its checksum stands
            pass
