"""What comes from another machine is read as numbers and text: a pickle would run what its writer likes."""

from __future__ import annotations

import ast
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord

from splitfed.attacker.knowledge_files import load_front
from splitfed.attacker.protocol import front_path
from splitfed.errors import UserError
from splitfed.federation.arrays import load_arrays
from splitfed.models.back import Back
from splitfed.models.front import PlainFront
from splitfed.types import ImageShape

PACKAGE = Path(__file__).parents[1] / "splitfed"
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pickletools"}
"""Modules that read or write pickles, or code."""
READERS = {"read_pickle", "recv"}
"""Functions that do so: pandas' own, and the end of a multiprocessing pipe."""
ALLOWED = {
    ("data/cifar10.py", "pickle"): "the official batches are pickles: an unpickler that knows arrays and nothing else",
    ("runners/processes.py", "recv"): "from a process that this one has started, over a pipe that nobody else has",
    ("wire/relay.py", "recv"): "bytes of a socket",
    ("bench/wire.py", "recv"): "as above, of a process",
    ("bench/scl_memory.py", "recv"): "as above, of a process",
    ("bench/scale_server.py", "recv"): "as above, of a process",
    ("bench/fuzz/target.py", "recv"): "as above, of a process",
    ("bench/fuzz/live_cases.py", "recv"): "as above, of a process, and bytes of a socket",
    ("bench/faults/client_process.py", "recv"): "as above, of a process",
    ("bench/faults/proxy.py", "recv"): "bytes of a socket",
    ("bench/faults/relay.py", "recv"): "as above, of a process",
    ("bench/faults/play.py", "recv"): "as above, of a process",
    ("bench/faults/child.py", "recv"): "as above, of a process",
    ("runners/step_reports.py", "recv"): "a datagram, read as JSON",
}
"""By module and name, why it may."""


def unpicklers(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """What in a module may load a pickle, as (module, name)."""
    module = path.relative_to(PACKAGE).as_posix() if path.is_absolute() else path.as_posix()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((module, alias.name) for alias in node.names if alias.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield module, str(node.module)
        elif isinstance(node, ast.Call):
            name = _called(node)
            if name in READERS or _is_open(name, node):
                yield module, name


def _called(node: ast.Call) -> str:
    """``torch.load`` of a call, ``recv`` of one on whatever object."""
    if not isinstance(node.func, ast.Attribute):
        return node.func.id if isinstance(node.func, ast.Name) else ""
    owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    return f"{owner}.{node.func.attr}" if owner in ("torch", "np", "numpy") else node.func.attr


def _is_open(name: str, node: ast.Call) -> bool:
    """Whether it reads arrays or weights without keeping to these. NumPy does by default, PyTorch is told so."""
    given = {key.arg: key.value for key in node.keywords}
    if name == "torch.load":
        return not _says(given.get("weights_only"), True)
    if name in ("np.load", "numpy.load"):
        return "allow_pickle" in given and not _says(given["allow_pickle"], False)
    return False


def _says(value: ast.expr | None, wanted: bool) -> bool:
    return isinstance(value, ast.Constant) and value.value is wanted


def test_nothing_loads_a_pickle() -> None:
    found = {each for path in PACKAGE.rglob("*.py") for each in unpicklers(path, path.read_text(encoding="utf-8"))}
    assert found - ALLOWED.keys() == set()
    assert ALLOWED.keys() - found == set(), "no longer there; drop the reason"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "def late():\n    import joblib.numpy_pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "pandas.read_pickle(path)",
        "connection.recv()",
    ],
)
def test_the_guard_finds_what_would(code: str) -> None:
    assert list(unpicklers(Path("new.py"), code))


@pytest.mark.parametrize("code", ["torch.load(p, weights_only=True)", "np.load(p)", "np.load(p, allow_pickle=False)"])
def test_the_guard_lets_the_rest_be(code: str) -> None:
    assert list(unpicklers(Path("new.py"), code)) == []


class _Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_weights_in_a_message_of_flowers_run_nothing(tmp_path: Path) -> None:
    """What a client sends back, and what a server sends out: Flower's arrays are NumPy's files."""
    trace = tmp_path / "trace"
    stored = io.BytesIO()
    np.save(stored, np.array([_Bomb(trace)], dtype=object), allow_pickle=True)
    pickle.loads(pickle.dumps(_Bomb(trace)))
    assert trace.exists(), "it is one that goes off"
    trace.unlink()
    back = Back(4, 4, 2)
    arrays = ArrayRecord(
        {name: Array("object", (1,), "numpy.ndarray", stored.getvalue()) for name in back.state_dict()}
    )
    with pytest.raises(ValueError, match=r"[Oo]bject arrays cannot be loaded"):
        load_arrays(back, arrays)
    assert not trace.exists()


def test_a_front_that_a_participant_hands_over_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    file = front_path(tmp_path, 1)
    file.parent.mkdir()
    torch.save({"weight": _Bomb(trace)}, file)
    with pytest.raises(UserError, match="0001"):
        load_front(tmp_path, 1, PlainFront(ImageShape(1, 4, 4), 8))
    assert not trace.exists()
