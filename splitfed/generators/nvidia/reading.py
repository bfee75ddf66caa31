"""What is in a network file of NVIDIA's, read as data.

Such a file is a pickle. Each module in it comes with the source of its class, which the original loader runs; this one
never looks at it. A pickle can name any function of any package: here a dozen names are known, each stands for a piece
of this module that builds data and nothing else, and every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splitfed.errors import UserError

TENSORFLOW = ("dnnlib.tflib", "tfutil")
"""What files of the first StyleGAN and of StyleGAN2 in TensorFlow begin to ask for."""


@dataclass
class PickledModule:
    """A module as a file has it.

    Attributes:
        class_name: of the class it was.
        state: its attributes.
    """

    class_name: str
    state: Mapping[str, Any] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer, float32.

        Raises:
            KeyError: there is none of this name.
        """
        found = self._of("_parameters").get(name)
        found = self._of("_buffers").get(name) if found is None else found
        if not isinstance(found, Tensor):
            raise KeyError(f"{self.class_name} has no tensor {name!r}")
        return found.float()

    def has_tensor(self, name: str) -> bool:
        """Whether there is a parameter or buffer of this name."""
        return any(isinstance(self._of(table).get(name), Tensor) for table in ("_parameters", "_buffers"))

    def child(self, name: str) -> PickledModule:
        """A module in it.

        Raises:
            KeyError: there is none of this name.
        """
        found = self.children().get(name)
        if found is None:
            raise KeyError(f"{self.class_name} has no module {name!r}")
        return found

    def children(self) -> dict[str, PickledModule]:
        """All modules in it, by name."""
        return {name: each for name, each in self._of("_modules").items() if isinstance(each, PickledModule)}

    def number(self, name: str) -> float:
        """An attribute that is a number.

        Raises:
            KeyError: it is none.
        """
        found = self.state.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise KeyError(f"{self.class_name} has no number {name!r}")
        return found

    def whole(self, name: str) -> int:
        """An attribute that is a whole number; KeyError where it is none."""
        found = self.number(name)
        if found != int(found):
            raise KeyError(f"{self.class_name} has no whole number {name!r}")
        return int(found)

    def text(self, name: str) -> str:
        """An attribute that is a text; KeyError where it is none."""
        found = self.state.get(name)
        if not isinstance(found, str):
            raise KeyError(f"{self.class_name} has no text {name!r}")
        return found

    def flag(self, name: str) -> bool:
        """An attribute that is true or false; False where there is none."""
        return bool(self.state.get(name, False))

    def wholes(self, name: str) -> tuple[int, ...]:
        """An attribute that is a list, tuple, or array of whole numbers; KeyError where it is none."""
        found = self.state.get(name)
        if isinstance(found, np.ndarray):
            found = found.tolist()
        if not isinstance(found, list | tuple) or not all(isinstance(each, int) for each in found):
            raise KeyError(f"{self.class_name} has no whole numbers {name!r}")
        return tuple(found)

    def clamp(self) -> float | None:
        """``conv_clamp``: what values are clamped to, None for nothing."""
        return None if self.state.get("conv_clamp") is None else self.number("conv_clamp")

    def _of(self, table: str) -> Mapping[str, Any]:
        found = self.state.get(table)
        return found if isinstance(found, Mapping) else {}


def read_generator(path: Path) -> PickledModule:
    """The generator in a network file: ``G_ema``, the average over training that is meant for use.

    Raises:
        UserError: there is no such file, it is damaged, foreign, or asks for what no such file needs. Nothing in it was
            run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); give the path of a StyleGAN .pkl"
        ) from error
    try:
        content = _DataOnly(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{path}: expected a network file of StyleGAN2-ADA or StyleGAN3, found something else ({error}); "
            "nothing in it was run"
        ) from error
    found = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(found, PickledModule):
        raise UserError(f"{path}: expected a dict with a network G_ema, found none; take a file with a generator")
    return found


class _DataOnly(pickle.Unpickler):
    """Reads tensors, arrays, numbers, texts and modules' attributes; refuses the names by which a pickle runs code."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name."""
        if module.startswith(TENSORFLOW):
            raise pickle.UnpicklingError("it is TensorFlow's; NVIDIA's legacy.py converts such files to PyTorch")
        known = NAMES.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which no network file needs")
        return known

    def persistent_load(self, pid: Any) -> Any:
        """What lies outside the pickle: nothing."""
        raise pickle.UnpicklingError(f"the pickle refers to {pid!r} outside of it")


class _Sealed(type):
    """A class whose attributes a pickle cannot set: it may write to whatever it can name."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"the pickle sets {cls.__name__}.{name}")


class _Call:
    """A function that a pickle may call, and do nothing else with."""

    __slots__ = ("__call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_Call__call", call)

    def __call__(self, *args: Any) -> Any:
        return self.__call(*args)  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"the pickle sets {name} of a function")


class _EasyDict(dict[str, Any], metaclass=_Sealed):
    """NVIDIA's dict whose keys are attributes, too; here they are keys."""


class _Dtype(metaclass=_Sealed):
    """A NumPy dtype of numbers."""

    def __init__(self, text: str, *_: object) -> None:
        if not (isinstance(text, str) and len(text) == 2 and text[0] in "biuf" and text[1].isdigit()):
            raise pickle.UnpicklingError(f"the pickle has an array of {text!r}, no numbers")
        self.text = text

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1] if len(state) > 1 else "|"
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"the pickle has numbers of byte order {order!r}")
        self.text = order + self.text[-2:]


class _Array(metaclass=_Sealed):
    """A NumPy array of numbers on its way."""

    numbers: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        flat = np.frombuffer(bytes(data), np.dtype(dtype.text))
        self.numbers = flat.reshape(shape, order="F" if fortran else "C")

    def tolist(self) -> Any:
        """Plain numbers."""
        return self.numbers.tolist()


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(bytes(data), np.dtype(dtype.text), count=1)[0].item()


def _storage(data: bytes) -> Tensor:
    """The numbers of a tensor, flat; PyTorch's reader for weights alone reads them."""
    stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    untyped, dtype = getattr(stored, "_untyped_storage", None), getattr(stored, "dtype", None)
    if not isinstance(untyped, torch.UntypedStorage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError("the pickle has a tensor without numbers")
    return torch.empty(0, dtype=dtype).set_(untyped)


def _tensor(flat: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """A tensor within its numbers: nothing is read beyond them, and none of them stands for many."""
    whole = [offset, *size, *stride]
    if not isinstance(flat, Tensor) or len(size) != len(stride) or not all(type(each) is int for each in whole):
        raise pickle.UnpicklingError("the pickle has a tensor of no shape")
    count = math.prod([*size])
    last = offset + sum((edge - 1) * step for edge, step in zip(size, stride, strict=True))
    if min(whole) < 0 or count > flat.numel() or (count and last >= flat.numel()):
        raise pickle.UnpicklingError(f"the pickle has a tensor of {size} beyond its {flat.numel()} numbers")
    return flat.as_strided(size, stride, offset).clone()


def _parameter(tensor: Tensor, *_: object) -> Tensor:
    return tensor


def _module(meta: Mapping[str, Any]) -> PickledModule:
    """A module without the source that comes with it."""
    state = meta["state"]
    if not isinstance(state, Mapping):
        raise pickle.UnpicklingError("the pickle has a module without attributes")
    values = {name: value.numbers if isinstance(value, _Array) else value for name, value in state.items()}
    return PickledModule(str(meta["class_name"]), values)


NAMES: Mapping[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_module),
    ("dnnlib.util", "EasyDict"): _EasyDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    ("torch.storage", "_load_from_bytes"): _Call(_storage),
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("numpy.core.multiarray", "scalar"): _Call(_scalar),
    ("numpy.core.multiarray", "_reconstruct"): _Call(lambda *_: _Array()),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}
"""All names that a network file may use, and what stands for each."""
