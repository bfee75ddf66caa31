"""Anybody's images: a folder or archive with a folder per class, or arrays in an .npz (docs/data.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from splitfed.data.archives import legible
from splitfed.data.arrays import read_arrays
from splitfed.data.cache import cached, write_entry
from splitfed.data.class_folders import in_order
from splitfed.data.decode import ImageDecoder
from splitfed.data.layout import Layout, plan
from splitfed.data.listing import DICOM_SUFFIXES, PICTURE_SUFFIXES, Listing, list_files
from splitfed.data.members import identity, members
from splitfed.data.source import DatasetSource, Decoded, Found, Request, Selection
from splitfed.data.spool import spool_in
from splitfed.errors import DataError

SUFFIXES = PICTURE_SUFFIXES | DICOM_SUFFIXES
MOST_FAULTS = 5
"""Files that are named before reading is given up."""


@dataclass(frozen=True)
class ImageFolder(DatasetSource):
    """Any folder or archive of images whose folders are the classes, or MedMNIST's kind of .npz."""

    name: str = field(default="folder", init=False)
    summary: str = field(
        default="your own images: a folder or archive with a folder per class, or an .npz of arrays", init=False
    )
    default_image_size: None = field(default=None, init=False)
    takes_selection: bool = field(default=True, init=False)

    def read(self, request: Request) -> Decoded:
        """All images below the path; they must be all gray or all RGB, and of one size unless one is given."""
        if request.path is None:
            raise DataError("folder: which one? Give the path of a folder that has one subfolder per class (data.path)")
        if request.path.suffix.lower() == ".npz":
            return _arrays(self.name, request.path, request)
        return _folder(self.name, request.path, request)


def _arrays(name: str, file: Path, request: Request) -> Decoded:
    if request.selection != Selection():
        raise DataError(
            f"{file}: an .npz has no folders; leave out data.include, exclude, class_level, group_level, window"
        )

    def build(entry: Path) -> None:
        write_entry(entry, read_arrays(file, request.image_size))

    return cached(request.cache, name, identity(file), request.image_size, build, location=file)


def _folder(name: str, location: Path, request: Request) -> Decoded:
    def build(entry: Path) -> None:
        listing = list_files(location, SUFFIXES, request.on_progress)
        layout = plan(str(location), listing, request.selection)
        _decode_into(entry, location, listing, layout, request)

    return cached(
        request.cache,
        name,
        identity(location),
        request.image_size,
        build,
        location=location,
        how=repr(request.selection),
    )


def _decode_into(entry: Path, location: Path, listing: Listing, layout: Layout, request: Request) -> None:
    """Decode what the layout names and write it in the order of class and place."""
    decoder = ImageDecoder(size=request.image_size, window=request.selection.window)
    row_of = {place: row for row, place in enumerate(layout.places)}
    rows: list[int] = []
    patients: list[str] = []
    sizes, depths = Counter[str](), Counter[str]()
    faults: list[str] = []
    with spool_in(entry) as spool:
        for member in members(location, request.on_progress, places=layout.places, flat=True):
            try:
                sample = decoder(member.data, f"{location}: {member.place}")
            except DataError as error:
                faults.append(str(error))
                if len(faults) == MOST_FAULTS:
                    break
                continue
            spool.add(sample.pixels)
            rows.append(row_of[member.place])
            patients.append(sample.patient)
            sizes[sample.size] += 1
            depths[sample.depth] += 1
        if faults:
            raise DataError("\n".join(faults))
        labels = [layout.labels[row] for row in rows]
        order = in_order(labels, [layout.places[row] for row in rows])
        groups, remarks = _groups(layout, rows, patients)
        if request.selection.window is not None and depths["8 bits"]:
            remarks.append(f"data.window does not apply to {depths['8 bits']:,} images of 8 bits")
        pixels, named = spool.pixels(), legible(location.resolve().name)
        decoded = Decoded(
            pixels,
            np.array(labels, np.int64)[order],
            layout.classes,
            note=f"{len(rows):,} images from {named}, {'×'.join(map(str, pixels.shape[1:]))}",
            caveat="; ".join(_caveats(layout, groups is not None, depths)),
            groups=None if groups is None else groups[order],
            parts=None if layout.parts is None else np.array(layout.parts, np.uint8)[rows][order],
            found=Found(listing.skipped(), dict(sizes), dict(depths), (*layout.remarks, *remarks)),
        )
        write_entry(entry, decoded, order)


def _groups(layout: Layout, rows: list[int], patients: list[str]) -> tuple[NDArray[np.int64] | None, list[str]]:
    """A number per image, equal within a group: by folders where the user named a level, else by DICOM patient.

    Images whose file names no patient are one group, so that none of them can be on both sides with another.
    """
    if layout.groups is not None:
        return np.unique([layout.groups[row] for row in rows], return_inverse=True)[1].astype(np.int64), []
    names = [normalize("NFC", patient.strip()) for patient in patients]
    known, unnamed = {*names} - {""}, names.count("")
    if len(known) < 2:
        return None, ["the DICOM files name one patient alone, which is taken for none"] if known else []
    remarks = [f"groups are the {len(known):,} patients that the DICOM files name"]
    if unnamed:
        remarks.append(f"{unnamed:,} images name no patient and are kept together as one more group")
    return np.unique(names, return_inverse=True)[1].astype(np.int64), remarks


def _caveats(layout: Layout, grouped: bool, depths: Counter[str]) -> list[str]:
    """What must be said of every figure: bits that were lost, and patients that nobody kept apart."""
    caveats = [f"{count:,} images of {depth}" for depth, count in sorted(depths.items()) if depth != "8 bits"]
    if layout.ungrouped and not grouped:
        caveats.append(
            f"{layout.ungrouped:,} folders below the classes are not taken as patients; if they are, one patient may "
            "be on both sides of the split (data.group_level)"
        )
    return caveats
