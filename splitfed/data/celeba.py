"""CelebA: aligned faces, told apart by hair color or by one of forty attributes.

The images are for non-commercial research and may not be passed on, so nothing here downloads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitfed.data.archives import is_archive
from splitfed.data.cache import cached, write_entry
from splitfed.data.decode import ImageDecoder
from splitfed.data.locations import contents, folders_below, looked_in
from splitfed.data.members import Member, identity, members
from splitfed.data.source import DatasetSource, Decoded, Request, Unavailable
from splitfed.data.spool import spool_in
from splitfed.errors import DataError, unknown

SEARCH_DEPTH = 2
CROPS = {(178, 218): 148, (89, 109): 74}
"""Width and height of the aligned images, whole and half size, and the center square that is usually kept."""
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Bald")
IMAGES = "img_align_celeba"
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
SITE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


class Attributes(NamedTuple):
    """What is known of each image: ``numbers`` int64 (N,), ``flags`` bool (N, A) and the names of the A columns."""

    numbers: NDArray[np.int64]
    flags: NDArray[np.bool_]
    names: tuple[str, ...]


class CelebATask(NamedTuple):
    """What is told apart: the label of each image number that takes part, the classes, and what was left out."""

    labels: dict[int, int]
    classes: tuple[str, ...]
    rule: str


@dataclass(frozen=True)
class CelebA(DatasetSource):
    """The center square of aligned color faces, resized: of five hair colors, or with and without one attribute."""

    name: str = field(default="celeba", init=False)
    summary: str = field(
        default="CelebA: aligned faces, color; by hair color or an attribute (Liu et al. 2015; non-commercial)",
        init=False,
    )
    default_image_size: int = field(default=32, init=False)
    takes_attribute: bool = field(default=True, init=False)

    def read(self, request: Request) -> Decoded:
        """The images that take part in the task, from the first place that has images and attributes.

        Raises:
            Unavailable: there are none, with what to get and where to put it.
            DataError: images without attributes or the other way round, or an unknown attribute.
        """
        images, listed = self._find(request)
        task = make_task(read_attributes(listed), request.attribute)

        def build(folder: Path) -> None:
            found = members(images, request.on_progress, flat=True)
            decoder = ImageDecoder(size=request.image_size, channels=3, crops=CROPS)
            _decode_into(folder, images, found, decoder, task)

        kind = f"{self.name}-{request.attribute or 'hair'}"
        version = identity(images) + identity(listed)
        return cached(request.cache, kind, version, request.image_size, build, location=images)

    def fetch(self, request: Request, target: Path) -> Path:
        """Where the images lie; nothing is ever downloaded."""
        found, _ = _search((target, *request.roots))
        if found is None:
            raise self._unavailable(request)
        return found

    def _find(self, request: Request) -> tuple[Path, Path]:
        roots = request.roots if request.path is None else (request.path,)
        images, listed = _search(roots)
        if images is None:
            raise self._unavailable(request)
        if listed is None:
            raise DataError(
                f"{self.name}: found the images {images}, but no {' or '.join(ATTRIBUTES)} in {looked_in(roots)}; "
                f"put it beside them; it comes with the images from {SITE}"
            )
        return images, listed

    def _unavailable(self, request: Request) -> Unavailable:
        where = looked_in(request.roots if request.path is None else (request.path,))
        return Unavailable(
            f"{self.name}: looked for the folder {IMAGES} or {IMAGES}.zip, with {ATTRIBUTES[0]} beside it, in {where}: "
            "not found. Its terms (non-commercial research, no passing on) do not allow us to fetch it: get "
            f'"Align&Cropped Images" and {ATTRIBUTES[0]} from {SITE}, and put both into a folder celeba/ there '
            "(--data-root or $SPLITFED_DATA)"
        )


def make_task(attributes: Attributes, attribute: str | None) -> CelebATask:
    """Labels by hair color, for images with exactly one of the five; or by whether they have this attribute.

    Raises:
        DataError: no attribute of this name.
    """
    if attribute is None:
        hair = attributes.flags[:, [_column(attributes, name) for name in HAIR]]
        takes_part = hair.sum(axis=1) == 1
        numbers, colors = attributes.numbers[takes_part].tolist(), hair[takes_part].argmax(axis=1).tolist()
        labels = dict(zip(numbers, colors, strict=True))
        return CelebATask(labels, HAIR, "hair color; images with none or several of the five are left out")
    flags = attributes.flags[:, _column(attributes, attribute)]
    labels = dict(zip(attributes.numbers.tolist(), flags.astype(int).tolist(), strict=True))
    return CelebATask(labels, (f"not {attribute}", attribute), attribute)


def read_attributes(path: Path) -> Attributes:
    """The attributes in the official text file, Kaggle's CSV of it, or an archive of packed bits.

    Raises:
        DataError: the file is not of one of these forms.
    """
    try:
        return _from_packed(path) if path.suffix == ".npz" else _from_text(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{path}: expected the attributes of CelebA, one row of 1 and -1 per image, found something else "
            f"({error}); copy it again"
        ) from error


def _from_packed(path: Path) -> Attributes:
    with np.load(path, allow_pickle=False) as stored:
        names = tuple(str(name) for name in stored["attr_names"])
        flags = np.unpackbits(stored["attr_packed"], axis=1)[:, : len(names)].astype(bool)
    return Attributes(np.arange(1, len(flags) + 1), flags, names)


def _from_text(path: Path) -> Attributes:
    lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
    header = 1 if lines[0].strip().isdigit() else 0  # the text file opens with the number of images
    names = tuple(name for name in lines[header].split() if name != "image_id")
    rows = [line.split() for line in lines[header + 1 :] if line.strip()]
    numbers = np.array([int(row[0].partition(".")[0]) for row in rows], np.int64)
    flags = np.array([row[1:] for row in rows], np.int64)
    if flags.shape != (len(numbers), len(names)) or not np.isin(flags, (-1, 1)).all():
        raise ValueError(f"{flags.shape} values under {len(names)} names")
    return Attributes(numbers, flags > 0, names)


def _column(attributes: Attributes, name: str) -> int:
    if name not in attributes.names:
        raise DataError(f"celeba: {unknown('attribute', name, attributes.names)}")
    return attributes.names.index(name)


def _search(roots: tuple[Path, ...]) -> tuple[Path | None, Path | None]:
    """Images and attributes of the first root that has images."""
    for root in roots:
        files = [file for folder in folders_below(root, SEARCH_DEPTH) for file in _candidates(folder)]
        images = next((file for file in files if _is_images(file)), None)
        if images is not None:
            return images, next((file for file in files if _is_attributes(file)), None)
    return None, None


def _candidates(folder: Path) -> list[Path]:
    """What lies in a folder by name, but for the folder of images: it has two hundred thousand."""
    return [] if folder.name == IMAGES else contents(folder)


def _is_images(path: Path) -> bool:
    name = path.name.lower()
    if path.is_dir():
        return name == IMAGES
    return is_archive(path) and (name.startswith((f"{IMAGES}.", "celeba_0")))


def _is_attributes(path: Path) -> bool:
    return path.name in ATTRIBUTES or (path.name.startswith("celeba_labels") and path.suffix == ".npz")


def _decode_into(
    folder: Path, location: Path, found: Iterator[Member], decoder: ImageDecoder, task: CelebATask
) -> None:
    """Decode the images of the task and write them by number."""
    numbers: list[int] = []
    seen = 0
    with spool_in(folder) as spool:
        for member in found:
            seen += 1
            number = _number(member.place)
            if number in task.labels:
                spool.add(decoder(member.data, f"{location}: {member.place}").pixels)
                numbers.append(number)
        labels = np.array([task.labels[number] for number in numbers], np.int64)
        counts = np.bincount(labels, minlength=len(task.classes))
        if not counts.all():
            raise DataError(
                f"{location}: expected images of {', '.join(task.classes)}, found none of "
                f"{task.classes[int(counts.argmin())]} among {seen:,} images"
            )
        pixels = spool.pixels()
        order = np.argsort(np.array(numbers), kind="stable")
        note = f"{len(numbers):,} images from {location.name}, {'×'.join(map(str, pixels.shape[1:]))}"
        write_entry(folder, Decoded(pixels, labels[order], task.classes, note, _caveat(task, counts, seen)), order)


def _number(place: str) -> int:
    """The number in the file's name; 0, which no image has, where there is none."""
    stem = place.rpartition("/")[2].partition(".")[0]
    return int(stem) if stem.isdigit() else 0


def _caveat(task: CelebATask, counts: NDArray[np.int64], seen: int) -> str:
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(task.classes, counts.tolist(), strict=True))
    return f"CelebA by {task.rule}: {counts.sum():,} of {seen:,} images ({classes})"
