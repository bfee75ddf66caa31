"""The attacker's own images and the fronts that it is given, written and read; `protocol` says where they lie.

Whatever lies there is checked when it is read: in a deployment a participant writes it, not the lab.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from splitfed.attacker.changing_files import first_line, when_whole
from splitfed.attacker.protocol import AUXILIARY, front_path
from splitfed.attacks.auxiliary import FEWEST_IMAGES
from splitfed.errors import DataError, UserError
from splitfed.files import replacing
from splitfed.types import Images, ImageShape


def save_auxiliary(folder: Path, images: Images) -> None:
    """Write the attacker's own images."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / AUXILIARY) as file:
        np.savez(file, pixels=images.pixels.numpy(), labels=images.labels.numpy(), classes=np.array(images.classes))


def load_auxiliary(folder: Path, shape: ImageShape) -> Images:
    """The attacker's own images. Pixels of 8 bits, 0 to 255, are divided by 255.

    Raises:
        DataError: an array is missing or is not what the attacker can learn from; the message names the file.
    """
    path = folder / AUXILIARY
    arrays = _read_arrays(path, ("pixels", "labels", "classes"))
    pixels = _checked_pixels(path, arrays["pixels"], shape)
    classes = _checked_classes(path, arrays["classes"])
    labels = _checked_labels(path, arrays["labels"], len(pixels), classes)
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels), classes)


def auxiliary_classes(folder: Path) -> tuple[str, ...]:
    """The class names of the attacker's own images, which are those of the task.

    Raises:
        DataError: see `load_auxiliary`.
    """
    path = folder / AUXILIARY
    return _checked_classes(path, _read_arrays(path, ("classes",))["classes"])


def _read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, _archive(file) as stored:
            lacking = [name for name in names if name not in stored]
            if lacking:
                raise DataError(f"{path} has no {' and no '.join(lacking)}; want {', '.join(names)}")
            return {name: stored[name] for name in names}
    except OSError as error:
        raise DataError(f"{path}, the attacker's own images, cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(
            f"{path} is damaged, or no archive of plain arrays ({first_line(error)}): write it with numpy.savez"
        ) from error


def _archive(file: BinaryIO) -> np.lib.npyio.NpzFile:
    stored = np.load(file, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("a single array")
    return stored


def _checked_pixels(path: Path, pixels: np.ndarray, shape: ImageShape) -> np.ndarray:
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != tuple(shape):
        raise DataError(f"{path}: pixels are {pixels.shape}; want (N, {', '.join(map(str, shape))}), as `shape` says")
    if len(pixels) < FEWEST_IMAGES:
        raise DataError(f"{path}: {len(pixels)} images; want at least {FEWEST_IMAGES} to learn from")
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255
    if pixels.dtype.kind != "f":
        raise DataError(f"{path}: pixels are {pixels.dtype}; want float32 in [0, 1], or uint8 in 0 to 255")
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: pixels are NaN or infinite in places; want numbers in [0, 1]")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        cure = "divide them by 255" if low >= 0 and high <= 255 else "scale them"
        raise DataError(f"{path}: pixels are in [{low:.4g}, {high:.4g}]; want [0, 1]: {cure}")
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _checked_classes(path: Path, classes: np.ndarray) -> tuple[str, ...]:
    if classes.ndim != 1 or not len(classes) or classes.dtype.kind != "U":
        raise DataError(f"{path}: classes are {classes.dtype} {classes.shape}; want one text for each class")
    return tuple(str(name) for name in classes)


def _checked_labels(path: Path, labels: np.ndarray, images: int, classes: tuple[str, ...]) -> np.ndarray:
    if labels.shape != (images,) or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {labels.dtype} {labels.shape}; want integers ({images},)")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(
            f"{path}: labels are in {low} to {high}; want 0 to {len(classes) - 1}, as there are {len(classes)} classes"
        )
    return labels.astype(np.int64)


def load_front(folder: Path, round_number: int, front: nn.Module) -> None:
    """Give `front` the weights of this round.

    Raises:
        UserError: there is no such file, it is no state dict, or one of another front, or has NaN; it says which.
    """
    path = front_path(folder, round_number)
    state = when_whole(path, _read_state)
    misfits = _misfits(state, front.state_dict())
    if misfits:
        raise UserError(
            f"{path} is not of the front that the attacker was told of: {'; '.join(misfits)}. "
            "Make shape, width, hidden_layers and the defense those of the federation"
        )
    broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise UserError(f"{path}: {_listed(broken)} NaN or infinite in places: the front has diverged, or was damaged")
    front.load_state_dict(state)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no {path}: put it there before the file that speaks of its round") from None
    except Exception as error:  # whatever the bytes lead PyTorch to
        raise UserError(
            f"{path} is damaged, or no state dict ({first_line(error)}): write it with torch.save, and rename it into "
            "place when it is whole"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} holds {type(state).__name__}; want a state dict: names and their tensors")
    return state


def _misfits(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    """In what the two differ, in words."""
    lacking = [name for name in wanted if name not in state]
    foreign = [name for name in state if name not in wanted]
    other = [
        f"{name} is {tuple(state[name].shape)}, want {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    return [
        *([f"it lacks {_listed(lacking)}"] if lacking else []),
        *([f"it has {_listed(foreign)} besides"] if foreign else []),
        *other[:3],
    ]


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
