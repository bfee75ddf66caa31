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
    ("generators/nvidia/reading.py", "pickle"): "published networks are pickles: an unpickler that builds data from a "
    "dozen names that stand for code of ours, and refuses the rest",
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


OF_PICKLE = {"Unpickler", "UnpicklingError"}
"""All that a module that may import `pickle` takes from it: the class, to derive from it, and its error."""


def unsafe_reading(text: str) -> Iterator[str]:
    """What in a module reads a pickle by another list of names than its own."""
    tree = ast.parse(text)
    derived = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and "pickle.Unpickler" in _bases(node)]
    of_classes = {id(base) for node in derived for base in node.bases}
    yield from (f"{node.name} knows every name" for node in derived if "find_class" not in _methods(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pickle":
            yield "a part of pickle under a name of its own"
        elif isinstance(node, ast.Import):
            yield from (f"pickle as {each.asname}" for each in node.names if each.name == "pickle" and each.asname)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle":
            if node.attr not in OF_PICKLE or (node.attr == "Unpickler" and id(node) not in of_classes):
                yield f"pickle.{node.attr}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("super().find_class", "import_module"):
            yield ast.unparse(node.func)


def _bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base) for base in node.bases}


def _methods(node: ast.ClassDef) -> set[str]:
    return {each.name for each in node.body if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize("module", [module for module, name in ALLOWED if name == "pickle"])
def test_who_reads_pickles_reads_them_by_a_list_of_names(module: str) -> None:
    assert list(unsafe_reading((PACKAGE / module).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(file)",
        "import pickle\npickle.loads(data)",
        "import pickle\npickle.Unpickler(file).load()",
        "import pickle\nreader = pickle.Unpickler",
        "import pickle\nclass Open(pickle.Unpickler):\n    pass",
        "import pickle as p\np.load(file)",
        "from pickle import load\nload(file)",
        "class Open(pickle.Unpickler):\n    def find_class(self, m, n):\n        return super().find_class(m, n)",
    ],
)
def test_the_guard_finds_a_reader_that_knows_every_name(code: str) -> None:
    assert list(unsafe_reading(code))


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
