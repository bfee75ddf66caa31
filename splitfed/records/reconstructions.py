"""Reconstructions as the attacker's process wrote them, read as a stranger's: neither name nor content is trusted."""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch

from splitfed.errors import AttackError
from splitfed.files import one_reader
from splitfed.types import ImageShape, Reconstruction

FOLDER = "attack"
"""Where in the folder of a cell the attacker writes."""
_LONGEST_NAME = 200


def check_name(attack: str) -> None:
    """Whether this may be shown as the name of an attack.

    Raises:
        AttackError: it is empty or long, or has characters that a terminal would obey.
    """
    if not attack or len(attack) > _LONGEST_NAME or not attack.isprintable():
        expected = f"1 to {_LONGEST_NAME} printable characters"
        raise AttackError(f"the attacker names an attack {attack[:_LONGEST_NAME]!r}; expected {expected}")


def read_reconstruction(cell: Path, name: str, shape: ImageShape) -> Reconstruction:
    """The reconstructions in the file that the attacker names.

    Args:
        cell: the folder of the cell.
        name: of the file, below it in `FOLDER`.
        shape: of an image.

    Raises:
        AttackError: the name leads elsewhere, or the file holds something else.
    """
    with _opened(cell, name) as file:
        return parse_reconstruction(file, name, shape)


def parse_reconstruction(file: IO[bytes], name: str, shape: ImageShape) -> Reconstruction:
    """The reconstructions in a file that is open already.

    Raises:
        AttackError: it holds something else.
    """
    try:
        index, images = _arrays(file)
    except Exception as error:  # whatever zipfile and NumPy raise for bytes that are not theirs
        raise AttackError(f"{name!r} holds no reconstructions: {error or type(error).__name__}") from error
    _check(name, index, images, shape)
    return Reconstruction(index=index, images=torch.from_numpy(images))


@contextmanager
def _opened(cell: Path, name: str) -> Iterator[IO[bytes]]:
    """A regular file in the attacker's folder, opened so that no link is followed and no pipe waited for."""
    if name != os.path.basename(name) or name in ("", ".", "..") or "\0" in name:  # noqa: PTH119 - not a path yet
        raise AttackError(f"the attacker names a file {name!r}; expected the name of one in its own folder")
    folder = cell.resolve() / FOLDER
    if folder.resolve() != folder:
        raise AttackError(f"{folder} is a link; expected the attacker's own folder")
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise AttackError(f"{name!r} cannot be read: {why}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AttackError(f"{name!r} cannot be read: it is no file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _arrays(file: IO[bytes]) -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")  # a small file could fill the memory
    file.seek(0)
    with one_reader, np.load(file, allow_pickle=False) as stored:
        return stored["index"], stored["images"]


def _check(name: str, index: np.ndarray, images: np.ndarray, shape: ImageShape) -> None:
    if images.dtype != np.float32 or images.shape[1:] != tuple(shape):
        raise AttackError(
            f"{name!r}: expected images (N, {', '.join(map(str, shape))}) of float32, found {images.shape} of "
            f"{images.dtype}"
        )
    wanted = (len(images), 4)
    if index.dtype != np.int64 or index.shape != wanted:
        raise AttackError(f"{name!r}: expected an index {wanted} of int64, found {index.shape} of {index.dtype}")
    if len(np.unique(index, axis=0)) != len(index):
        raise AttackError(f"{name!r}: a row of its index is there twice")
