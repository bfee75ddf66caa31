"""How a Python child of splitfed starts: it imports what its parent does, in whatever folder it is started.

``python -m`` and ``python -c`` put the current folder first on the path of the child: a file ``random.py`` or a folder
``splitfed`` there would pass for the module of that name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from runpy import run_module

_PATH = "SPLITFED_CHILD_PATH"


def arguments(*command: str) -> list[str]:
    """What to give a Python interpreter, in `environment`, so that it runs this command of this very splitfed."""
    return ["-P", str(Path(__file__).absolute()), *command]


def environment() -> dict[str, str]:
    """This process's environment, and what its child takes over as `sys.path`."""
    return {**os.environ, _PATH: json.dumps(_path_for_child())}


@contextmanager
def safe_path() -> Iterator[None]:
    """While it lasts, interpreters that this process starts leave the current folder out: for `multiprocessing`,
    which gives no say in how it starts one."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _path_for_child() -> list[str]:
    """The parent's own path. The current folder comes last where Python put it first: a plug-in that lies there is
    found, and shadows nothing."""
    path = [entry for entry in sys.path if isinstance(entry, str)]  # anything else imports nothing
    here = _current_folder()
    put_first = path[:1] == [here]
    named = [entry for entry in path[put_first:] if entry]
    return [*named, here] if put_first or "" in path else named


def _current_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # removed meanwhile
        return os.devnull


def _run() -> None:
    """What the child does: take over the path, then what ``python -m splitfed`` does."""
    sys.path[:] = json.loads(os.environ.pop(_PATH))
    _import_splitfed()
    run_module("splitfed", run_name="__main__", alter_sys=True)


def _import_splitfed() -> None:
    """By its place, which no other package of that name on the path can take."""
    folder = Path(__file__).absolute().parents[1]
    spec = spec_from_file_location("splitfed", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["splitfed"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["splitfed"])


if __name__ == "__main__":
    _run()
