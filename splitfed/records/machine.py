"""What a run was made on: interpreter, processor, memory, versions, commit."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).resolve().parents[1]
_NAMED_VERSIONS = ("splitfed", "torch", "torchvision", "torchmetrics", "flwr", "grpcio", "numpy")
_GIT_TIMEOUT_S = 5.0


class Commit(NamedTuple):
    """The commit of a checkout of splitfed, and whether tracked files differ from it; both None outside of one."""

    commit: str | None
    modified: bool | None


def cpu_model() -> str:
    """The processor's name, as well as the system tells it."""
    # psutil does not tell it
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may use."""
    import psutil

    # a container or taskset often grants fewer cores than the machine has; macOS has no such thing
    affinity = getattr(psutil.Process(), "cpu_affinity", None)
    return len(affinity()) if affinity else psutil.cpu_count() or 1


def memory_bytes() -> int:
    """The machine's memory."""
    import psutil

    return int(psutil.virtual_memory().total)


def package_version(package: str) -> str | None:
    """The version of an installed package, of PyTorch with its build (2.13.0+cu130); None for one that is not.

    What PyTorch's metadata says leaves the build out where it comes from the public index.
    """
    if package == "torch" and importlib.util.find_spec("torch") is not None:
        import torch

        return str(torch.__version__)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """By package its version; None for one that is not installed."""
    return {name: package_version(name) for name in _NAMED_VERSIONS}


def commit() -> Commit:
    """Which state of splitfed's own sources this is."""
    top = _git("rev-parse", "--show-toplevel")
    # an installed copy may lie inside somebody else's checkout (a virtual environment, say)
    if top is None or Path(top).resolve() / "splitfed" != _PACKAGE:
        return Commit(None, None)
    return Commit(_git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no")))


def _git(*arguments: str) -> str | None:
    """What git printed for this package's folder, or None if it failed or is not installed."""
    # no optional locks: to look must not write, or a full disk here leaves a lock in somebody's repository
    command = ["git", "--no-optional-locks", "-C", str(_PACKAGE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout).strip()
