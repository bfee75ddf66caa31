"""Files straight out of .zip and packed .tar, without unpacking them to disk."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from splitfed.data.source import Progress
from splitfed.errors import DataError

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".zip")
MEMBERS_PER_REPORT = 500
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, RuntimeError)
"""What the readers raise; zipfile has RuntimeError for encrypted members and unknown compressions."""
ARCHIVED_LINK, STORED_TWICE = "link in an archive", "file that is stored again"

_UTF8 = 1 << 11  # the flag of a zip member whose name is UTF-8


def legible(name: str) -> str:
    r"""A file's name as text, also where its bytes are no UTF-8.

    >>> legible("caf\udce9")
    'caf\\xe9'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be read here."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def archived_places(path: Path, on_progress: Progress) -> Iterator[tuple[str, str]]:
    """Every member's place, with what it is where it has no content of its own: a link, or stored a second time."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            yield from ((place, kind) for place, kind, _ in _zip_members(archive))
        return
    for place, kind, _ in _tar_members(path, lambda done, total: on_progress(f"listing {path.name}", done, total)):
        yield place, kind


def read_archived(path: Path, wanted: Callable[[str], bool], on_progress: Progress) -> Iterator[tuple[str, bytes]]:
    """Place and content of the members whose place is wanted."""
    if path.suffix.lower() == ".zip":
        yield from _from_zip(path, wanted, on_progress)
        return
    what = f"decoding {path.name}"
    for place, kind, content in _tar_members(path, lambda done, total: on_progress(what, done, total)):
        if not kind and wanted(place):
            yield place, content()


def damaged(path: Path, read: int, error: Exception) -> DataError:
    """What to say of one of `DAMAGED`, met after so many images."""
    reason = str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        way_out = "give this user access to it"
    elif isinstance(error, NotImplementedError) or "encrypted" in reason:
        way_out = "unpack it with the program that made it, and name the folder"
    else:
        way_out = "copy or download it again"
    whole = "folder" if path.is_dir() else "archive"
    return DataError(
        f"{path}: expected a whole {whole}, but after {read:,} images reading failed ({reason}); {way_out}"
    )


def _from_zip(path: Path, wanted: Callable[[str], bool], on_progress: Progress) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = [(place, info) for place, kind, info in _zip_members(archive) if not kind and wanted(place)]
        for number, (place, info) in enumerate(members):
            if number % MEMBERS_PER_REPORT == 0:
                on_progress(f"decoding {path.name}", number, len(members))
            yield place, archive.read(info)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, str, zipfile.ZipInfo]]:
    """Place, kind and entry of each member; of one that is stored twice the last counts, as unpackers have it."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    # programs on Windows write the places of their own system, against the standard
    backslashes = not any("/" in info.filename for info in infos)
    places = [_zip_place(info, backslashes) for info in infos]
    last = {place: number for number, place in enumerate(places)}
    for number, (place, info) in enumerate(zip(places, infos, strict=True)):
        link = stat.S_ISLNK(info.external_attr >> 16)
        yield place, ARCHIVED_LINK if link else STORED_TWICE if last[place] != number else "", info


def _zip_place(info: zipfile.ZipInfo, backslashes: bool) -> str:
    name = info.filename.removeprefix("./")
    if not info.flag_bits & _UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")  # macOS writes UTF-8 and does not say so
    return name.replace("\\", "/") if backslashes else name


def _tar_members(path: Path, on_progress: Callable[[int, int], None]) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """Place, kind and reader of each member, read to the end of the packed stream."""
    total = path.stat().st_size
    seen: set[str] = set()
    # Decompressed here and not by tarfile, whose stream mode takes a compressed file that was cut between two
    # members for a complete one.
    decompressed = lzma.open if path.suffix.lower() == ".xz" else gzip.open
    with path.open("rb") as raw, decompressed(raw) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for number, entry in enumerate(archive):
            if number % MEMBERS_PER_REPORT == 0:
                on_progress(raw.tell(), total)
            place = legible(entry.name.removeprefix("./"))
            if not entry.isdir():
                kind = "" if entry.isfile() else ARCHIVED_LINK
                yield place, STORED_TWICE if place in seen else kind, partial(_content, archive, entry)
                seen.add(place)
        while stream.read(1 << 20):  # to the end of the compressed stream, where its checksum stands
            pass


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    assert file is not None  # it is a regular file
    return file.read()
