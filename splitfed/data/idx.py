"""MNIST and Fashion-MNIST, in the idx files that both are published as."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitfed.data.cache import cached, write_entry
from splitfed.data.decode import resize_all
from splitfed.data.download import Download, download
from splitfed.data.locations import folders_below, looked_in
from splitfed.data.members import identity
from splitfed.data.source import DatasetSource, Decoded, Request, Unavailable
from splitfed.errors import DataError

SEARCH_DEPTH = 3
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""Images and labels of the published training part, then of the test part; either packed (.gz) or not."""
_UNSIGNED_BYTES = 0x08  # the idx type code of what both data sets hold


class Published(NamedTuple):
    """Where the packed files are published: base addresses, tried in this order, and the MD5 of each of `FILES`."""

    mirrors: tuple[str, ...]
    md5: tuple[str, ...]


@cache
def published(kind: str, more_mirrors: tuple[str, ...] = ()) -> Published:
    """What torchvision knows of a data set of its own, with mirrors that it does not know.

    torchvision takes a second to import, so it is asked only where there is a packed file to check or to download.
    """
    from torchvision import datasets

    known = getattr(datasets, kind)
    md5 = dict(known.resources)
    return Published((*known.mirrors, *more_mirrors), tuple(md5[f"{name}.gz"] for name in FILES))


@dataclass(frozen=True)
class IdxMnist(DatasetSource):
    """70,000 gray images 28×28 of ten classes; the published training and test parts are pooled.

    Attributes:
        folder: the folder that holds the files, by torchvision's name for it.
        published: where the packed files are published, and their checksums.
        unpacked_md5: the checksums of `FILES` as they are unpacked, which torchvision does not check.
        classes: names of the classes 0 to 9.
    """

    name: str
    summary: str
    folder: str
    published: Callable[[], Published]
    unpacked_md5: tuple[str, ...]
    classes: tuple[str, ...]
    default_image_size: int = 28

    def read(self, request: Request) -> Decoded:
        """The pooled images of the first folder found; downloaded if there is none."""
        folder = request.path or self._find(request.roots) or self._download(request, request.roots[-1])
        files = self._files(folder)
        if len(files) < len(FILES):
            raise DataError(f"{folder}: expected the files {self._file_names()}, found {len(files)} of them")
        self._check(folder)

        def build(entry: Path) -> None:
            read = [read_idx(file) for file in files]
            write_entry(entry, self._pool(folder, read, request.image_size))

        version = "".join(map(identity, files))
        return cached(request.cache, self.name, version, request.image_size, build, location=folder)

    def fetch(self, request: Request, target: Path) -> Path:
        """The folder that holds the four files; downloaded below ``target`` if nowhere yet."""
        return self._find((target, *request.roots)) or self._download(request, target)

    def _pool(self, folder: Path, read: list[NDArray[np.uint8]], size: int | None) -> Decoded:
        """Images and labels of both parts, in the order of `_files`."""
        images, labels = np.concatenate(read[0::2]), np.concatenate(read[1::2]).astype(np.int64)
        if len(images) != len(labels) or images.ndim != 3 or labels.max(initial=0) >= len(self.classes):
            raise DataError(
                f"{folder}: expected as many images as labels below {len(self.classes)}, "
                f"found shapes {images.shape} and {labels.shape}, labels up to {labels.max(initial=0)}"
            )
        note = f"{len(images):,} images from {folder}, published training and test parts pooled"
        return Decoded(resize_all(images, size), labels, self.classes, note)

    def _find(self, roots: tuple[Path, ...]) -> Path | None:
        """The first folder that holds the published files, whatever it is called.

        Raises:
            DataError: there is none, but a folder of this data set's name with other files.
        """
        named = None
        for root in roots:
            for folder in folders_below(root, SEARCH_DEPTH):
                if len(self._files(folder)) < len(FILES):
                    continue
                if self._changed(folder) is None:
                    return folder
                if self.folder.lower() in (folder.name.lower(), folder.parent.name.lower()):
                    named = named or folder
        if named is not None:
            self._check(named)
        return None

    def _check(self, folder: Path) -> None:
        changed = self._changed(folder)
        if changed is None:
            return
        others = (other.name for other in (MNIST, FASHION_MNIST) if other._changed(folder) is None)
        of = "".join(f"; they are those of {name}" for name in others)
        raise DataError(
            f"{folder}: expected the published files of {self.name}, found {changed.name} with another checksum{of}; "
            f"`splitfed data fetch {self.name} --data-root FOLDER` downloads it, or name the folder that holds it"
        )

    def _changed(self, folder: Path) -> Path | None:
        """The first of the four files that is not as published; None where all are."""
        for number, file in enumerate(self._files(folder)):
            known = self.published().md5 if file.suffix == ".gz" else self.unpacked_md5
            if _md5(file) != known[number]:
                return file
        return None

    def _files(self, folder: Path) -> list[Path]:
        """The four files that are there: images and labels of each part; either packed or not."""
        candidates = [(folder / f"{name}.gz", folder / name) for name in FILES]
        found = [next((path for path in pair if path.is_file()), None) for pair in candidates]
        return [path for path in found if path is not None]

    def _file_names(self) -> str:
        return ", ".join(f"{name}.gz" for name in FILES)

    def _download(self, request: Request, target: Path) -> Path:
        try:
            mirrors, checksums = self.published()
            for name, md5 in zip(FILES, checksums, strict=True):
                urls = tuple(f"{mirror}{name}.gz" for mirror in mirrors)
                download(Download(f"{self.folder}/raw/{name}.gz", urls, md5), target, request.on_progress)
        except Unavailable as failure:
            raise Unavailable(
                f"{self.name}: looked for {self.folder}/raw/ with {self._file_names()} in {looked_in(request.roots)}: "
                f"not found. Then {failure}. Put the files there (--data-root or $SPLITFED_DATA), or run "
                f"`splitfed data fetch {self.name}` where there is a network"
            ) from failure
        return target / self.folder / "raw"


def _md5(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror}); change its permissions, or copy it again"
        ) from error


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, packed or not: two zeros, type, rank, sizes, data.

    Raises:
        DataError: another kind of file, or a truncated one.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a whole gzip file, but {error}; download it again") from error
    rank = data[3] if len(data) > 3 else 0
    head = 4 + 4 * rank
    if len(data) < head or data[:3] != bytes((0, 0, _UNSIGNED_BYTES)):
        raise DataError(f"{path}: expected an idx file of bytes, found one that begins {data[:4]!r}; download it again")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", rank, 4))
    if len(data) - head != math.prod(shape):
        raise DataError(
            f"{path}: expected {' × '.join(map(str, shape))} = {math.prod(shape):,} bytes after the header, "
            f"found {len(data) - head:,}; download it again"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


MNIST = IdxMnist(
    name="mnist",
    summary="MNIST: 70,000 handwritten digits, gray 28×28 (LeCun, Cortes, Burges)",
    folder="MNIST",
    published=partial(published, "MNIST", more_mirrors=("https://storage.googleapis.com/cvdf-datasets/mnist/",)),
    unpacked_md5=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    classes=tuple("0123456789"),
)

FASHION_MNIST = IdxMnist(
    name="fashion_mnist",
    summary="Fashion-MNIST: 70,000 pieces of clothing, gray 28×28 (Zalando Research; MIT)",
    folder="FashionMNIST",
    published=partial(
        published,
        "FashionMNIST",
        more_mirrors=("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",),
    ),
    unpacked_md5=(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    classes=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
