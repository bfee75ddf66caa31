"""What is installed, found and missing, and the cure."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, NamedTuple

from splitfed.errors import UserError
from splitfed.files import size_bytes
from splitfed.plugins import Registry
from splitfed.views.text import byte_count

PACKAGES = ("torch", "flwr", "grpcio", "protobuf", "numpy", "pillow", "pydantic", "rich", "scikit-learn")
PLUGIN_GROUPS = ("datasets", "defenses", "attacks")
FREE_GIB_WANTED = 2.0


class Check(NamedTuple):
    """One thing looked at. ``cure`` is empty when it is well."""

    name: str
    found: str
    cure: str


def examine(data_root: Path | None) -> bool:
    """Print every check; returns whether all is well for the main job."""
    from rich.table import Table
    from rich.text import Text

    from splitfed.views.terminal.console import ViewConsole

    checks = list(checks_of(data_root))
    table = Table("", "what", "found", "cure", box=None)
    for check in checks:
        mark = Text("✗", style="red") if check.cure else Text("✓", style="green")
        table.add_row(mark, *map(Text, check))
    ViewConsole().print(table)
    return not any(check.cure for check in checks)


def checks_of(data_root: Path | None) -> Iterator[Check]:
    """Python, packages, disk, data and the loopback network."""
    old = sys.version_info < (3, 11)
    yield Check("python", sys.version.split()[0], "install Python 3.11 or newer" if old else "")
    yield from (_package(name) for name in PACKAGES)
    yield _disk()
    yield from _runs(Path("runs"))
    yield _loopback()
    yield from _data(data_root)
    for group in PLUGIN_GROUPS:
        yield from _plugins(group)


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


def _runs(root: Path) -> Iterator[Check]:
    """What the runs take that lie where they are made by default."""
    sizes = {manifest.parent.name: size_bytes(manifest.parent) for manifest in root.glob("*/manifest.json")}
    if sizes:
        largest = max(sizes, key=lambda name: sizes[name])
        took = f"{byte_count(sum(sizes.values()))} in {len(sizes)}, of that {byte_count(sizes[largest])} in {largest}"
        yield Check(f"runs in {root}/", took, "")


def _loopback() -> Check:
    import socket

    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return Check("loopback", f"can listen on 127.0.0.1:{listener.getsockname()[1]}", "")
    except OSError as error:
        return Check("loopback", str(error.strerror), "allow this user to listen on 127.0.0.1")


def _plugins(group: str) -> Iterator[Check]:
    """The plug-ins of a kind: what they are checked by is imported where there are any."""
    points = entry_points(group=f"splitfed.{group}")
    if not points:
        return
    try:
        found = _registry(group)
    except ImportError as error:
        yield Check(f"plug-ins: {group}", f"cannot be checked: {error}", "install what is missing above")
        return
    whys = {broken.name: broken.why for broken in found.broken}
    for name in sorted({point.name for point in points}):
        why = whys.get(name, "")
        yield Check(f"plug-in {name}", "broken" if why else f"one of the {group}", why)


def _registry(group: str) -> Registry[Any]:
    if group == "datasets":
        from splitfed.data import sources

        return sources()
    if group == "attacks":
        from splitfed.attacks import ATTACKS

        return ATTACKS
    from splitfed.defenses import DEFENSES

    return DEFENSES


def _data(data_root: Path | None) -> Iterator[Check]:
    try:
        from splitfed.data.locations import contents, search_roots
    except ImportError as error:
        yield Check("data", f"cannot be looked for: {error}", "install what is missing above")
        return
    try:
        roots = search_roots(data_root)
    except (UserError, RuntimeError) as error:  # no home directory, and nothing else named
        yield Check("data", str(error), "name a folder with --data-root, and set SPLITFED_CACHE to one for downloads")
        return
    for root in roots:
        found = ", ".join(child.name for child in contents(root))
        yield Check(f"data in {root}", found or "nothing", "")
    yield Check("data elsewhere", "downloaded when asked for; without a network the main job draws phantoms", "")
