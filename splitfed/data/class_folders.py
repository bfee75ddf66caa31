"""Data sets that are image files in class folders: Medical MNIST, and any folder of the user's."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splitfed.data.cache import cached, write_entry
from splitfed.data.decode import Decoder
from splitfed.data.download import Download, download
from splitfed.data.locations import folders_below, looked_in, subfolders
from splitfed.data.members import ARCHIVE_SUFFIXES, Member, identity, is_archive, members
from splitfed.data.source import DatasetSource, Decoded, Request, Unavailable
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
    """Six kinds of radiograph, 64×64 grey, as the six class folders or an archive of them."""

    source_file: Download = MEDNIST
    edge: int = 64
    name: str = field(default="medical_mnist", init=False)
    summary: str = field(
        default="Medical MNIST: 58,954 radiographs of six kinds, grey 64×64 (B. Erickson, Mayo Clinic; CC BY-SA 4.0)",
        init=False,
    )
    default_size: int = field(default=28, init=False)

    def read(self, request: Request) -> Decoded:
        """The images of the first folder or archive found; downloaded if there is none."""
        location = request.path or self._find(request.roots) or self._download(request, request.roots[-1])
        decoder = Decoder(size=request.size, channels=1, edge=self.edge)
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


@dataclass(frozen=True)
class ImageFolder(DatasetSource):
    """Any folder or archive of images whose subfolders are the classes."""

    name: str = field(default="folder", init=False)
    summary: str = field(default="your own images: a folder or archive with one subfolder per class", init=False)
    default_size: None = field(default=None, init=False)

    def read(self, request: Request) -> Decoded:
        """All images below the path; they must be all grey or all RGB, and of one size unless one is given."""
        if request.path is None:
            raise DataError("folder: which one? Give the path of a folder that has one subfolder per class")
        return read_classes(self.name, request.path, Decoder(size=request.size), request, None)


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
    name: str,
    location: Path,
    decoder: Decoder,
    request: Request,
    classes: tuple[str, ...] | None,
    *,
    if_lossy: str = "",
) -> Decoded:
    """All images of a folder or archive of class folders, through the cache.

    Args:
        name: of the data set; the cache keeps it apart.
        location: the folder or archive.
        decoder: what the images must be like.
        request: for the size, the cache and the progress.
        classes: the class folders that are read, in the order of their labels; None takes all there are.
        if_lossy: the caveat where any of the images is a JPEG, for data sets that were published without loss.

    Raises:
        DataError: an image that does not fit, a class without images, a damaged archive.
    """

    def build(folder: Path) -> None:
        found = members(location, request.on_progress)
        _decode_into(folder, location, found, decoder, classes, if_lossy)

    return cached(request.cache, name, identity(location), request.size, build)


def _decode_into(
    folder: Path,
    location: Path,
    found: Iterable[Member],
    decoder: Decoder,
    classes: tuple[str, ...] | None,
    if_lossy: str,
) -> None:
    """Decode everything and write it in the order of class and place, whatever order the archive has."""
    wanted = {_canonical(name): name for name in classes or ()}
    names: list[str] = []
    places: list[str] = []
    shape: tuple[int, ...] = ()
    with tempfile.TemporaryFile(dir=folder) as spool:
        for member in found:
            class_name = wanted.get(_canonical(member.class_name), "") if classes else member.class_name
            if class_name:
                image = decoder(member.data, f"{location}: {member.place}")
                shape = image.shape
                spool.write(image.tobytes())
                names.append(class_name)
                places.append(member.place)
        ordered = classes or tuple(sorted(set(names)))
        _check_classes(location, names, ordered)
        spool.flush()
        labels = np.array([ordered.index(name) for name in names], np.int64)
        order = np.array(
            sorted(range(len(names)), key=lambda row: (labels[row], places[row].rpartition("/")[2], places[row]))
        )
        pixels: NDArray[np.uint8] = np.memmap(spool, np.uint8, "r", shape=(len(names), *shape))
        note = f"{len(names):,} images from {location.name}, {shape[0]}×{shape[1]}×{shape[2]}"
        caveat = if_lossy if any(place.lower().endswith((".jpg", ".jpeg")) for place in places) else ""
        write_entry(folder, Decoded(pixels, labels[order], ordered, note, caveat), order)


def _check_classes(location: Path, names: list[str], expected: tuple[str, ...]) -> None:
    missing = sorted(set(expected) - set(names))
    if missing:
        raise DataError(f"{location}: expected images of {', '.join(expected)}, found none of {', '.join(missing)}")
    if len(expected) < 2:
        raise DataError(
            f"{location}: expected images in at least two class subfolders, "
            f"found {len(names):,} images in {len(expected)}"
        )
