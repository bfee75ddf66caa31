"""Data sets that are image files in class folders of known names: Medical MNIST, and CIFAR-10 as image files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splitfed.data.archives import ARCHIVE_SUFFIXES, is_archive
from splitfed.data.cache import cached, write_entry
from splitfed.data.decode import ImageDecoder
from splitfed.data.download import Download, download
from splitfed.data.locations import folders_below, looked_in, subfolders
from splitfed.data.members import Member, identity, members
from splitfed.data.source import DatasetSource, Decoded, Request, Unavailable
from splitfed.data.spool import spool_in
from splitfed.errors import DataError

SEARCH_DEPTH = 2
"""Levels below a root at which class folders and archives are looked for."""

MEDICAL_CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
_ALIASES = {"chestxray": "cxr", "chestxr": "cxr", "chest_xray": "cxr", "chest-xray": "cxr"}

MEDNIST = Download(
    file="MedNIST/MedNIST.tar.gz",
    urls=("https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/MedNIST.tar.gz",),
    md5="0bc7306e7427e00ad1c5526a6677552d",
)


@dataclass(frozen=True)
class MedicalMnist(DatasetSource):
    """Six kinds of radiograph, 64×64 gray, as the six class folders or an archive of them."""

    source_file: Download = MEDNIST
    edge: int = 64
    name: str = field(default="medical_mnist", init=False)
    summary: str = field(
        default="Medical MNIST: 58,954 radiographs of six kinds, gray 64×64 (B. Erickson, Mayo Clinic; CC BY-SA 4.0)",
        init=False,
    )
    default_image_size: int = field(default=28, init=False)

    def read(self, request: Request) -> Decoded:
        """The images of the first folder or archive found; downloaded if there is none."""
        location = request.path or self._find(request.roots) or self._download(request, request.roots[-1])
        decoder = ImageDecoder(size=request.image_size, channels=1, edge=self.edge)
        return read_classes(self.name, location, decoder, request, MEDICAL_CLASSES)

    def fetch(self, request: Request, target: Path) -> Path:
        """Where the class folders or the archive lie; downloaded below ``target`` if nowhere yet."""
        return self._find((target, *request.roots)) or self._download(request, target)

    def _find(self, roots: tuple[Path, ...]) -> Path | None:
        for root in roots:
            for folder in folders_below(root, SEARCH_DEPTH):
                if _has_all_classes(folder):
                    return folder
                for archive in _medical_archives(folder):
                    return archive
        return None

    def _download(self, request: Request, target: Path) -> Path:
        try:
            return download(self.source_file, target, request.on_progress)
        except Unavailable as failure:
            raise Unavailable(
                f"{self.name}: looked for the class folders {', '.join(MEDICAL_CLASSES)}, or an archive of them named "
                f"like MedNIST{ARCHIVE_SUFFIXES[0]}, in {looked_in(request.roots)}: not found. Then {failure}. "
                "Put the data there (--data-root or $SPLITFED_DATA), or run `splitfed data fetch medical_mnist` "
                "where there is a network, or name a fallback such as phantoms"
            ) from failure


def _canonical(folder_name: str) -> str:
    lower = folder_name.lower()
    return _ALIASES.get(lower, lower)


def _has_all_classes(folder: Path) -> bool:
    """Whether the six class folders are here.

    Raises:
        DataError: most of them are: an incomplete copy, which is better said than passed over.
    """
    found = {_canonical(child.name) for child in subfolders(folder)}
    missing = [name for name in MEDICAL_CLASSES if _canonical(name) not in found]
    if 0 < len(missing) < len(MEDICAL_CLASSES) / 2:
        raise DataError(
            f"{folder}: expected the class folders {', '.join(MEDICAL_CLASSES)}, found no {missing[0]}; copy it again"
        )
    return not missing


def _medical_archives(folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if is_archive(path) and path.is_file())
    except OSError:
        return []
    return [path for path in files if _names_medical_mnist(path.name) or _is_kaggle_download(path)]


def _names_medical_mnist(file_name: str) -> bool:
    letters = "".join(character for character in file_name.lower() if character.isalnum())
    return "mednist" in letters or "medicalmnist" in letters


def _is_kaggle_download(path: Path) -> bool:
    """Whether this is the ``archive.zip`` that Kaggle makes of Medical MNIST, and not one of another data set."""
    if path.name != "archive.zip" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(f"/{MEDICAL_CLASSES[0]}/" in f"/{place}" for place in archive.namelist())


def read_classes(
    name: str, location: Path, decoder: ImageDecoder, request: Request, classes: tuple[str, ...], *, if_lossy: str = ""
) -> Decoded:
    """All images in the folders of these names in a folder or archive, through the cache.

    Args:
        name: of the data set; the cache keeps it apart.
        location: the folder or archive.
        decoder: what the images must be like.
        request: for the size, the cache and the progress.
        classes: the class folders that are read, in the order of their labels.
        if_lossy: the caveat where any of the images is a JPEG, for data sets that were published without loss.

    Raises:
        DataError: an image that does not fit, a class without images, a damaged archive.
    """

    def build(folder: Path) -> None:
        _decode_into(folder, location, members(location, request.on_progress), decoder, classes, if_lossy)

    return cached(request.cache, name, identity(location), request.image_size, build, location=location)


def _decode_into(
    folder: Path,
    location: Path,
    found: Iterable[Member],
    decoder: ImageDecoder,
    classes: tuple[str, ...],
    if_lossy: str,
) -> None:
    """Decode everything and write it in the order of class and place, whatever order the archive has."""
    label_of = {_canonical(name): label for label, name in enumerate(classes)}
    labels: list[int] = []
    places: list[str] = []
    with spool_in(folder) as spool:
        for member in found:
            label = label_of.get(_canonical(member.class_name))
            if label is not None:
                spool.add(decoder(member.data, f"{location}: {member.place}").pixels)
                labels.append(label)
                places.append(member.place)
        missing = sorted(name for label, name in enumerate(classes) if label not in set(labels))
        if missing:
            raise DataError(f"{location}: expected images of {', '.join(classes)}, found none of {', '.join(missing)}")
        pixels = spool.pixels()
        order = in_order(labels, places)
        note = f"{len(places):,} images from {location.name}, {'×'.join(map(str, pixels.shape[1:]))}"
        caveat = if_lossy if any(place.lower().endswith((".jpg", ".jpeg")) for place in places) else ""
        write_entry(folder, Decoded(pixels, np.array(labels, np.int64)[order], classes, note, caveat), order)


def in_order(labels: Sequence[int], places: Sequence[str]) -> NDArray[np.int64]:
    """The positions sorted by class, then by file name, then by place: the same for a folder and an archive of it."""
    return np.array(
        sorted(range(len(places)), key=lambda row: (labels[row], places[row].rpartition("/")[2], places[row])), np.int64
    )
