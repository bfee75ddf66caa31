"""CIFAR-10: the official pickled batches, read without running what a pickle could run; else image files."""

from __future__ import annotations

import hashlib
import io
import lzma
import pickle
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitfed.data.archives import is_archive
from splitfed.data.cache import cached, write_entry
from splitfed.data.class_folders import read_classes
from splitfed.data.decode import ImageDecoder, resize_all
from splitfed.data.download import Download, download
from splitfed.data.locations import contents, folders_below, looked_in, subfolders
from splitfed.data.members import identity
from splitfed.data.source import DatasetSource, Decoded, Request, Unavailable
from splitfed.errors import DataError

SEARCH_DEPTH = 2
EDGE = 32
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
"""The six files, in the order in which their images are read."""
LOSSY = "LOSSY CIFAR-10: read from JPEG files, not from the official batches; figures on the originals differ"


def official() -> Download:
    """The published archive, as torchvision knows it."""
    from torchvision.datasets import CIFAR10  # takes a second

    return Download(file=ARCHIVE, urls=(CIFAR10.url,), md5=CIFAR10.tgz_md5)


def published_md5() -> Mapping[str, str]:
    """The checksums of `BATCHES`, as torchvision knows them. It unpickles them as they are; we do not."""
    from torchvision.datasets import CIFAR10

    return dict((*CIFAR10.train_list, *CIFAR10.test_list))


@dataclass(frozen=True)
class Cifar10(DatasetSource):
    """60,000 color images 32×32 of ten classes; the published training and test parts are pooled.

    The official batches come first, wherever they lie; then image files in class folders; then the download.
    """

    source_file: Callable[[], Download] = official
    batch_md5: Callable[[], Mapping[str, str]] = published_md5
    name: str = field(default="cifar10", init=False)
    summary: str = field(
        default="CIFAR-10: 60,000 photographs of ten classes, color 32×32 (Krizhevsky 2009)", init=False
    )
    default_image_size: int = field(default=EDGE, init=False)

    def read(self, request: Request) -> Decoded:
        """The images of the best form found; downloaded if there is none."""
        location = (
            (_find_official((request.path,)) or request.path)
            if request.path
            else _find_official(request.roots)
            or _find_images(request.roots)
            or self._download(request, request.roots[-1])
        )
        if _is_official(location):
            return self._read_batches(location, request)
        decoder = ImageDecoder(size=request.image_size, channels=3, edge=EDGE)
        return read_classes(self.name, location, decoder, request, CLASSES, if_lossy=LOSSY)

    def fetch(self, request: Request, target: Path) -> Path:
        """Where the official batches lie; downloaded below ``target`` if nowhere yet."""
        return _find_official((target, *request.roots)) or self._download(request, target)

    def _read_batches(self, location: Path, request: Request) -> Decoded:
        def build(entry: Path) -> None:
            read = dict(_batches(location, self.batch_md5()))
            missing = [name for name in BATCHES if name not in read]
            if missing:
                raise DataError(f"{location}: expected the batches {', '.join(BATCHES)}, found no {missing[0]}")
            images = np.concatenate([read[name][0] for name in BATCHES])
            labels = np.concatenate([read[name][1] for name in BATCHES])
            note = f"{len(images):,} images from {location.name}, published training and test parts pooled"
            write_entry(entry, Decoded(resize_all(images, request.image_size), labels, CLASSES, note))

        return cached(request.cache, self.name, _identity(location), request.image_size, build, location=location)

    def _download(self, request: Request, target: Path) -> Path:
        try:
            return download(self.source_file(), target, request.on_progress)
        except Unavailable as failure:
            raise Unavailable(
                f"{self.name}: looked for {ARCHIVE}, the folder {FOLDER}, or images in the class folders "
                f"{', '.join(CLASSES)}, in {looked_in(request.roots)}: not found. Then {failure}. "
                "Put the data there (--data-root or $SPLITFED_DATA), or run `splitfed data fetch cifar10` "
                "where there is a network"
            ) from failure


def _is_official(path: Path) -> bool:
    if path.is_dir():
        return (path / BATCHES[0]).is_file()
    return path.name == ARCHIVE


def _find_official(roots: tuple[Path, ...]) -> Path | None:
    for root in roots:
        for folder in folders_below(root, SEARCH_DEPTH):
            if _is_official(folder):
                return folder
            if (folder / ARCHIVE).is_file():
                return folder / ARCHIVE
    return None


def _find_images(roots: tuple[Path, ...]) -> Path | None:
    """The first archive or folder of image files that is named after the data set."""
    for root in roots:
        for folder in folders_below(root, SEARCH_DEPTH):
            named = _names_cifar10(folder.name)
            if named and any(set(CLASSES) <= {c.name for c in subfolders(part)} for part in _parts(folder)):
                return folder
            for archive in contents(folder):
                if _names_cifar10(archive.name) and is_archive(archive) and archive.is_file():
                    return archive
    return None


def _parts(folder: Path) -> tuple[Path, ...]:
    return (folder, folder / "train", folder / "test")


def _names_cifar10(file_name: str) -> bool:
    """Whether a file or folder is named after this data set, and not after CIFAR-100."""
    return re.search(r"cifar10(?!\d)", re.sub(r"[^a-z0-9]", "", file_name.lower())) is not None


def _identity(location: Path) -> str:
    files = [location / name for name in BATCHES] if location.is_dir() else [location]
    return "|".join(identity(file) for file in files if file.is_file())


def _batches(
    location: Path, md5: Mapping[str, str]
) -> Iterator[tuple[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]]:
    """Name, images (N, 32, 32, 3) and labels of every batch in the folder or archive.

    Raises:
        DataError: the archive is damaged, or a file is no such batch, or another than the published one.
    """
    for name, where, data in _batch_files(location):
        batch = read_batch(data, where)
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != md5[name]:
            raise DataError(f"{where}: expected the published batch, md5 {md5[name]}, found {found}; download it again")
        yield name, batch


def _batch_files(location: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, place (for messages) and bytes of the batches."""
    if location.is_dir():
        files = [location / name for name in BATCHES]
        yield from ((file.name, str(file), file.read_bytes()) for file in files if file.is_file())
        return
    try:
        with tarfile.open(location) as archive:
            for entry in archive:
                name, file = Path(entry.name).name, archive.extractfile(entry) if entry.isfile() else None
                if file is not None and name in BATCHES:
                    yield name, f"{location}: {entry.name}", file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{location}: expected a whole archive, reading failed ({error or type(error).__name__}); download it again"
        ) from error


def read_batch(data: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One official batch: images uint8 (N, 32, 32, 3) and labels int64 (N,).

    Raises:
        DataError: no such batch, or a pickle that asks for anything but arrays; ``where`` names the file.
    """
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = batch[b"data"], np.asarray(batch[b"labels"], np.int64)
        images = np.ascontiguousarray(pixels.reshape(-1, 3, EDGE, EDGE).transpose(0, 2, 3, 1))
        if pixels.dtype != np.uint8 or len(images) != len(labels) or not ((labels >= 0) & (labels < 10)).all():
            raise ValueError(f"{len(images)} images of {pixels.dtype} with {len(labels)} labels")
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(
            f"{where}: expected a batch of CIFAR-10 (images of 3×{EDGE}×{EDGE} bytes and labels 0 to 9), found "
            f"something else ({error}); download it again"
        ) from error
    return images, labels


class _ArraysOnly(pickle.Unpickler):
    """Reads numbers, strings, lists, dicts and arrays; refuses the names by which a pickle runs code."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that an array is pickled with, old and new."""
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            # numpy moved it; the array knows where it is now
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which no batch needs")
        return allowed[module, name]
