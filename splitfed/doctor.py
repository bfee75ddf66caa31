"""What is installed, found and missing, and the cure."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("torch", "flwr", "grpcio", "protobuf", "numpy", "pillow", "pydantic", "rich", "scikit-learn")
FREE_GIB_WANTED = 2.0


class Check(NamedTuple):
    """One thing looked at. ``cure`` is empty when it is well."""

    name: str
    found: str
    cure: str


def examine(data_root: Path | None) -> bool:
    """Print every check; returns whether all is well for the main job."""
    from rich.console import Console
    from rich.table import Table

    checks = list(checks_of(data_root))
    table = Table("", "what", "found", "cure", box=None)
    for check in checks:
        table.add_row("[red]✗[/red]" if check.cure else "[green]✓[/green]", check.name, check.found, check.cure)
    Console().print(table)
    return not any(check.cure for check in checks)


def checks_of(data_root: Path | None) -> Iterator[Check]:
    """Python, packages, disk, data and the loopback network."""
    old = sys.version_info < (3, 11)
    yield Check("python", sys.version.split()[0], "install Python 3.11 or newer" if old else "")
    yield from (_package(name) for name in PACKAGES)
    yield _disk()
    yield _loopback()
    yield from _data(data_root)


def _package(name: str) -> Check:
    try:
        return Check(name, version(name), "")
    except PackageNotFoundError:
        return Check(name, "missing", "run `make demo`, or: pip install splitfed")


def _disk() -> Check:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    short = free_gib < FREE_GIB_WANTED
    cure = f"free {FREE_GIB_WANTED:g} GiB, or name another place with --out" if short else ""
    return Check("disk", f"{free_gib:.1f} GiB free here", cure)


def _loopback() -> Check:
    import socket

    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return Check("loopback", f"can listen on 127.0.0.1:{listener.getsockname()[1]}", "")
    except OSError as error:
        return Check("loopback", str(error.strerror), "allow this user to listen on 127.0.0.1")


def _data(data_root: Path | None) -> Iterator[Check]:
    from splitfed.data.locations import search_roots

    for root in search_roots(data_root):
        found = ", ".join(sorted(child.name for child in root.iterdir())) if root.is_dir() else ""
        yield Check(f"data in {root}", found or "nothing", "")
    yield Check("data elsewhere", "downloaded when asked for; without a network the main job draws phantoms", "")
