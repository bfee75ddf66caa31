"""Decoded images on disk: written whole or not at all, read back without copying.

An entry is a folder with ``pixels.npy``, ``labels.npy``, ``digests.npy`` and ``about.json``, and where they are known
``groups.npy`` and ``parts.npy``. It is built under another name and renamed when it is complete and on the disk, so an
interrupted decoding leaves nothing that could be taken for an entry. Images may be private: entries are as open as the
folder in which they lie, and that is made for its owner alone.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from splitfed.data.source import Decoded, Found
from splitfed.errors import DataError
from splitfed.files import as_open_as, make_private, publish_folder
from splitfed.records.record import Record, of_json, to_json

FORMAT = 3  # raise it when decoding changes, so that old entries are not read
ROWS_PER_BLOCK = 256
ABANDONED_S = 86_400.0
"""A half-built entry that is older was left by a process that was killed."""

ABOUT = "about.json"

Build = Callable[[Path], None]
"""Fills a new folder by `write_entry`."""


class CachedImages(Record):
    """What an entry of the cache says of itself: `Decoded` but its arrays, whose names and length it has."""

    images: int
    arrays: tuple[str, ...]
    classes: tuple[str, ...]
    note: str
    caveat: str
    found: Found


_ABOUT = TypeAdapter(CachedImages)


def cached(
    cache: Path,
    name: str,
    identity: str,
    size: int | None,
    build: Build,
    *,
    location: Path | None = None,
    how: str = "",
) -> Decoded:
    """The entry for these images at this size, built if it is not there; one of an earlier version is then removed.

    Args:
        cache: the folder of all entries.
        name: of the data set.
        identity: tells versions of the source files apart (`members.identity`).
        size: edge in pixels; None for the files' own.
        build: makes the entry.
        location: where the files lie.
        how: what else decides what is read; entries of different ``how`` stay side by side.

    Raises:
        DataError: the cache cannot be written.
    """
    of = _hash(f"{name}|{size}|{location and location.resolve()}|{how}")
    folder = cache / "decoded"
    entry = folder / f"{name}-{size or 'native'}-{of}-{_hash(f'{FORMAT}|{identity}')}"
    found = _read_entry(entry)
    if found is None:
        try:
            _build_entry(entry, build)
            _remove(old for old in folder.glob(f"{name}-{size or 'native'}-{of}-*") if old != entry)
        except OSError as error:
            raise DataError(
                f"cannot write decoded images to {cache}: {error.strerror or error}; "
                "set SPLITFED_CACHE to a folder with room"
            ) from error
        found = _read_entry(entry)
        assert found is not None
    return found._replace(location=location)


def write_entry(folder: Path, decoded: Decoded, order: NDArray[np.int64] | None = None) -> None:
    """Write ``decoded`` into ``folder``, its pixels reordered by ``order`` block by block to spare memory."""
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=decoded.pixels.shape)
    digests = []
    for start in range(0, len(pixels), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        block = decoded.pixels[rows if order is None else order[rows]]
        pixels[rows] = block
        digests.append(image_digests(block))
    pixels.flush()
    arrays = {
        "labels": decoded.labels,
        "groups": decoded.groups,
        "parts": decoded.parts,
        "digests": np.concatenate(digests),
    }
    stored = {name: values for name, values in arrays.items() if values is not None}
    for name, values in stored.items():
        np.save(folder / f"{name}.npy", values)
    about = CachedImages(
        images=len(pixels),
        arrays=tuple(sorted(stored)),
        classes=tuple(decoded.classes),
        note=decoded.note,
        caveat=decoded.caveat,
        found=decoded.found,
    )
    (folder / ABOUT).write_bytes(to_json(about, indent=1))  # the folder is published as a whole


def image_digests(pixels: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """A hash of each image, (N,): equal images have equal ones."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in pixels], "S32")


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _read_entry(entry: Path) -> Decoded | None:
    """The entry, its pixels mapped; None where there is none that can be read."""
    try:
        about = of_json(_ABOUT, (entry / ABOUT).read_bytes())
        pixels = np.load(entry / "pixels.npy", mmap_mode="r")
        arrays = {name: np.load(entry / f"{name}.npy") for name in about.arrays}
        if {len(pixels), *map(len, arrays.values())} != {about.images}:
            return None
        return Decoded(pixels, classes=about.classes, note=about.note, caveat=about.caveat, found=about.found, **arrays)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def _build_entry(entry: Path, build: Build) -> None:
    make_private(entry.parent)
    long_ago_s = time.time() - ABANDONED_S
    with suppress(FileNotFoundError):  # another process was just at it
        _remove(old for old in entry.parent.glob(".partial-*") if old.stat().st_mtime < long_ago_s)
    partial = entry.parent / f".partial-{uuid.uuid4().hex}"
    with as_open_as(entry.parent):
        partial.mkdir()
        try:
            build(partial)
            _publish(partial, entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, entry: Path) -> None:
    """Another process may have been quicker: then its entry stays."""
    if _read_entry(entry) is not None:
        return
    shutil.rmtree(entry, ignore_errors=True)
    try:
        publish_folder(partial, entry)
    except OSError:
        if _read_entry(entry) is None:
            raise


def _remove(folders: Iterable[Path]) -> None:
    """Remove what nobody reads any more; who has it open keeps reading it."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
