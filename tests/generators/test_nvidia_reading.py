"""A network file is read as data: whatever it would run is refused or ignored, and leaves no trace."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitfed.errors import UserError
from splitfed.generators.nvidia import reading
from splitfed.generators.nvidia.reading import read_generator
from splitfed.generators.stylegan import rebuilt
from tests.generators.nvidia_files import Written, stylegan2, write


class Calls:
    """Is pickled as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def network(source: str | None = None) -> Written:
    more = {} if source is None else {"source": source}
    return stylegan2("skip", channels=1, classes=0, clamp=None, **more)  # type: ignore[arg-type]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What a hostile file would leave behind."""
    return tmp_path / "trace"


def refused(path: Path, trace: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        read_generator(path)
    assert str(path) in str(raised.value)
    assert not trace.exists()


def test_an_honest_file_is_read(tmp_path: Path) -> None:
    written = network()
    found = read_generator(write(tmp_path / "net.pkl", written))
    assert found.class_name == "Generator"
    block = found.child("synthesis").child("b8")
    weight = written.modules["synthesis"].modules["b8"].modules["conv0"].parameters["weight"]
    assert weight is not None
    assert torch.equal(block.child("conv0").tensor("weight"), weight.detach())
    assert block.whole("resolution") == 8
    assert block.child("torgb").number("weight_gain") == 0.5


def test_source_in_a_file_is_never_looked_at(tmp_path: Path, trace: Path) -> None:
    hostile = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n"
    found = read_generator(write(tmp_path / "net.pkl", network(hostile)))
    rebuilt(found)
    assert not trace.exists()
    exec(hostile, {})
    assert trace.exists(), "it is one that goes off"


@pytest.mark.parametrize("place", ["G", "G_ema", "D", "augment_pipe", "training_set_kwargs"])
def test_a_call_is_refused_wherever_it_stands(place: str, tmp_path: Path, trace: Path) -> None:
    path = write(tmp_path / "net.pkl", network(), **{place: Calls(os.system, f"touch {trace}")})
    refused(path, trace, "system, which no network file needs.*nothing in it was run")


def test_a_call_within_a_module_is_refused(tmp_path: Path, trace: Path) -> None:
    hostile = network()
    hostile.attributes["z_dim"] = Calls(eval, f"open({str(trace)!r}, 'w')")
    refused(write(tmp_path / "net.pkl", hostile), trace, r"asks for builtins\.eval")


def test_a_call_within_the_numbers_of_a_tensor_is_refused(tmp_path: Path, trace: Path) -> None:
    stored = io.BytesIO()
    torch.save(Calls(Path.touch, trace), stored)
    hostile = Calls(torch.storage._load_from_bytes, stored.getvalue())
    refused(write(tmp_path / "net.pkl", network(), D=hostile), trace, "weights_only|Weights only|found something else")
    torch.load(io.BytesIO(stored.getvalue()), weights_only=False)
    assert trace.exists(), "it is one that goes off"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("torch.hub.load", "torch.hub.load"),
        ("torch.load", "torch.load"),
        ("torch.serialization.load", "torch.serialization.load"),
        ("builtins.getattr", "builtins.getattr"),
        ("torch_utils.persistence._reconstruct_persistent_obj.__globals__", "__globals__"),
        ("numpy.ndarray.tofile", "ndarray.tofile"),
    ],
)
def test_no_other_name_is_known(name: str, asked: str, tmp_path: Path, trace: Path) -> None:
    """Names with dots, too, which newer pickles resolve step by step."""
    for parts in range(1, name.count(".") + 1):
        module, attribute = name.rsplit(".", parts)[0], ".".join(name.rsplit(".", parts)[1:])
        texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute))
        path = tmp_path / f"{parts}.pkl"
        path.write_bytes(b"\x80\x04" + texts + b"\x93.")
        if (module, attribute) not in reading.NAMES:
            refused(path, trace, f"asks for .*{asked.replace('.', r'[.]')}")


def state_setter(name: bytes, state: bytes) -> bytes:
    """A pickle that sets attributes of what a name stands for: BUILD with a second part, as for slots."""
    module, _, attribute = name.rpartition(b".")
    return b"\x80\x02c" + module + b"\n" + attribute + b"\nN" + state + b"\x86b."


@pytest.mark.parametrize("module_and_name", reading.NAMES)
def test_what_names_stand_for_cannot_be_changed(module_and_name: tuple[str, str], tmp_path: Path, trace: Path) -> None:
    """Else one file could prepare what the next one does."""
    before = {name: dict(getattr(each, "__dict__", {})) for name, each in reading.NAMES.items()}
    path = tmp_path / "net.pkl"
    state = b"}U\x08hostilesK\x01s".replace(b"U\x08hostiles", b"U\x07hostile")
    path.write_bytes(state_setter(".".join(module_and_name).encode(), state))
    refused(path, trace, "found something else|found none")
    assert {name: dict(getattr(each, "__dict__", {})) for name, each in reading.NAMES.items()} == before


def test_what_lies_outside_of_a_pickle_is_not_asked_for(tmp_path: Path, trace: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(b"\x80\x02U\x04some" + b"Q.")
    refused(path, trace, "refers to 'some' outside of it")


def tensor_of(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    """A tensor that claims more than its four numbers."""
    stored = io.BytesIO()
    numbered = torch.TypedStorage([0, 1, 2, 3], dtype=torch.float32)  # type: ignore[no-untyped-call]
    torch.save(numbered, stored, _use_new_zipfile_serialization=False)
    numbers = Calls(torch.storage._load_from_bytes, stored.getvalue())
    return Calls(torch._utils._rebuild_tensor_v2, numbers, offset, size, stride, False, {})


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (1 << 40,), (0,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (2,), (1, 1)),
        (0, (2.0,), (1,)),
    ],
)
def test_a_tensor_beyond_its_numbers_is_refused(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path, trace: Path
) -> None:
    path = write(tmp_path / "net.pkl", network(), D=tensor_of(offset, size, stride))
    refused(path, trace, "the pickle has a tensor")
    read_generator(write(path, network(), D=tensor_of(1, (3,), (1,))))


def test_files_that_are_none_are_named(tmp_path: Path, trace: Path) -> None:
    whole = write(tmp_path / "net.pkl", network()).read_bytes()
    for number, data in enumerate((b"", b"no pickle", whole[: len(whole) // 2], whole[:-1], b"\x80\x04K\x01.")):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(data)
        refused(path, trace, "expected a (network file|dict with a network)")
    refused(tmp_path / "missing.pkl", trace, "cannot be read")
    refused(tmp_path, trace, "cannot be read")


def test_foreign_pickles_are_named(tmp_path: Path, trace: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps({"weights": [1, 2]}))
    refused(path, trace, "expected a dict with a network G_ema, found none")
    path.write_bytes(b"\x80\x02cdnnlib.tflib.network\nNetwork\n.")
    refused(path, trace, "TensorFlow's; NVIDIA's legacy.py converts")
    torch.save({"weights": torch.ones(2)}, path)
    refused(path, trace, "expected a network file")


def test_bits_that_flip_run_nothing(tmp_path: Path, trace: Path) -> None:
    """Whatever becomes of it, it is read or refused with one message."""
    whole = bytearray(write(tmp_path / "net.pkl", network()).read_bytes())
    draws = torch.Generator().manual_seed(0)
    path = tmp_path / "flipped.pkl"
    for place in torch.randint(len(whole), (150,), generator=draws).tolist():
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        try:
            read_generator(path)
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017 - it may also be read
    assert not trace.exists()
