"""Decoded images on disk: written whole or not at all, read back without copying.

An entry is a folder with ``pixels.npy``, ``labels.npy`` and ``about.json``, and where they are known ``groups.npy``
and ``parts.npy``. It is built under another name and renamed when it is complete and on the disk, so an interrupted
decoding leaves nothing that could be taken for an entry. Images may be private: entries are as open as the folder in
which they lie, and that is made for its owner alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splitfed.data.source import Decoded, Found
from splitfed.errors import DataError
from splitfed.files import as_open_as, make_private, publish_folder

FORMAT = 2  # raise it when decoding changes, so that old entries are not read
ROWS_PER_BLOCK = 4096

Build = Callable[[Path], None]
"""Fills a new folder by `write_entry`."""


def cached(
    cache: Path, name: str, identity: str, size: int | None, build: Build, *, location: Path | None = None
) -> Decoded:
    """The entry for these images at this size, built if it is not there.

    ``identity`` tells the source files apart (`members.identity`); ``location`` is where they lie.

    Raises:
        DataError: the cache cannot be written.
    """
    digest = hashlib.blake2b(f"{FORMAT}|{name}|{identity}|{size}".encode(), digest_size=8).hexdigest()
    entry = cache / "decoded" / f"{name}-{size or 'native'}-{digest}"
    found = _read_entry(entry)
    if found is None:
        try:
            _build_entry(entry, build)
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
    for start in range(0, len(pixels), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        pixels[rows] = decoded.pixels[rows if order is None else order[rows]]
    pixels.flush()
    for name in ("labels", "groups", "parts"):
        values = getattr(decoded, name)
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    about = {"classes": decoded.classes, "note": decoded.note, "caveat": decoded.caveat, "found": asdict(decoded.found)}
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _read_entry(entry: Path) -> Decoded | None:
    """The entry, its pixels mapped; None where there is none that can be read."""
    try:
        about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        pixels = np.load(entry / "pixels.npy", mmap_mode="r")
        labels = np.load(entry / "labels.npy")
        groups, parts = (
            np.load(file) if (file := entry / f"{name}.npy").exists() else None for name in ("groups", "parts")
        )
        found = Found(**{**about["found"], "remarks": tuple(about["found"]["remarks"])})
        return Decoded(pixels, labels, tuple(about["classes"]), about["note"], about["caveat"], groups, parts, found)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def _build_entry(entry: Path, build: Build) -> None:
    make_private(entry.parent)
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
