"""MNIST and Fashion-MNIST, in the idx files that both are published as."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

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
PARTS = ("train", "t10k")
_UNSIGNED_BYTES = 0x08  # the idx type code of what both data sets hold


@dataclass(frozen=True)
class IdxMnist(DatasetSource):
    """70,000 gray images 28×28 of ten classes; the published training and test parts are pooled.

    Attributes:
        folder: the folder that holds the files, by torchvision's name for it.
        mirrors: base addresses, tried in this order.
        md5: the published checksum of each packed file.
        unpacked_md5: the checksums of the same files unpacked.
        classes: names of the classes 0 to 9.
    """

    name: str
    summary: str
    folder: str
    mirrors: tuple[str, ...]
    md5: tuple[tuple[str, str], ...]
    unpacked_md5: tuple[str, ...]
    classes: tuple[str, ...]
    default_size: int = 28

    def read(self, request: Request) -> Decoded:
        """The pooled images of the first folder found; downloaded if there is none."""
        folder = request.path or self._find(request.roots) or self._download(request, request.roots[-1])
        files = self._files(folder)
        if len(files) < 2 * len(PARTS):
            raise DataError(f"{folder}: expected the files {self._file_names()}, found {len(files)} of them")
        self._check(folder)

        def build(entry: Path) -> None:
            read = [read_idx(file) for file in files]
            write_entry(entry, self._pool(folder, read, request.size))

        version = "".join(map(identity, files))
        return cached(request.cache, self.name, version, request.size, build, location=folder)

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
                if len(self._files(folder)) < 2 * len(PARTS):
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
        for file, (_, packed), unpacked in zip(self._files(folder), self.md5, self.unpacked_md5, strict=True):
            if _md5(file) != (packed if file.suffix == ".gz" else unpacked):
                return file
        return None

    def _files(self, folder: Path) -> list[Path]:
        """The four files that are there: images and labels of each part; either packed or not."""
        names = [name.removesuffix(".gz") for name, _ in self.md5]
        candidates = [(folder / f"{name}.gz", folder / name) for name in names]
        found = [next((path for path in pair if path.is_file()), None) for pair in candidates]
        return [path for path in found if path is not None]

    def _file_names(self) -> str:
        return ", ".join(name for name, _ in self.md5)

    def _download(self, request: Request, target: Path) -> Path:
        try:
            for name, md5 in self.md5:
                urls = tuple(mirror + name for mirror in self.mirrors)
                download(Download(f"{self.folder}/raw/{name}", urls, md5), target, request.on_progress)
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


_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

MNIST = IdxMnist(
    name="mnist",
    summary="MNIST: 70,000 handwritten digits, gray 28×28 (LeCun, Cortes, Burges)",
    folder="MNIST",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    md5=tuple(
        zip(
            _NAMES,
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
            strict=True,
        )
    ),
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
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    md5=tuple(
        zip(
            _NAMES,
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            strict=True,
        )
    ),
    unpacked_md5=(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    classes=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
