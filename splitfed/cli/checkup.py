"""What is installed, found and missing, and the cure."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, entry_points
from pathlib import Path
from typing import Any, NamedTuple

from splitfed.cli.requirements import DISTRIBUTION, Requirement, extras, python_wanted, requirements
from splitfed.errors import UserError
from splitfed.files import size_bytes
from splitfed.plugins import Registry
from splitfed.views.text import byte_count

BRINGS = {
    "ray": "--runner ray: clients or cells on Ray",
    "dp": "the epsilon of the defense dpsgd",
    "fid": "the scores fid_lite0 and fid",
    "medical": "DICOM, and TIFF files that Pillow does not read",
    "tensorboard": "scenario --tensorboard, report --format tensorboard",
    "umap": "report --features",
    "docs": "the documentation as a site, by make docs",
    "dev": "tests and checks of splitfed itself",
}
"""What an extra is for; which packages that takes, the distribution itself says."""
PLUGIN_GROUPS = ("datasets", "defenses", "attacks", "generators")
FREE_GIB_WANTED = 2.0


_STYLES = {"✗": "red", "✓": "green", "–": "dim"}


class Check(NamedTuple):
    """One thing looked at. ``cure`` is empty when it is well, as it is without what is ``optional``."""

    name: str
    found: str
    cure: str
    optional: bool = False

    @property
    def mark(self) -> str:
        """One character for a table."""
        return "✗" if self.cure else "–" if self.optional else "✓"


def examine(data_root: Path | None) -> bool:
    """Print every check; returns whether all is well for the main job."""
    checks = list(checks_of(data_root))
    try:
        _show(checks)
    except ImportError:  # rich is one of the packages that may be missing
        for check in checks:
            print(check.mark, check.name, check.found, check.cure, sep="  ")
    return not any(check.cure for check in checks)


def _show(checks: Sequence[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from splitfed.views.terminal.console import ViewConsole

    table = Table("", "what", "found", "cure", box=None)
    for check in checks:
        mark = Text(check.mark, style=_STYLES[check.mark])
        table.add_row(mark, Text(check.name), Text(check.found), Text(check.cure))
    ViewConsole().print(table)


def checks_of(data_root: Path | None) -> Iterator[Check]:
    """Python, packages, disk, data and the loopback network."""
    yield from _distribution()
    yield _disk()
    yield from _runs(Path("runs"))
    yield _loopback()
    yield from _data(data_root)
    for group in PLUGIN_GROUPS:
        yield from _plugins(group)


def _distribution() -> Iterator[Check]:
    """Python and packages against what the distribution requires, and its extras."""
    running = platform.python_version()
    try:
        required, wanted, offered = requirements(), python_wanted(), extras()
    except PackageNotFoundError:
        yield Check("python", running, "")
        yield Check("splitfed", "runs from a folder and is not installed", "run `make demo`, or: pip install .")
        return
    fits = Requirement("python", wanted, "").fits(running)
    yield Check("python", running, "" if fits else f"install Python {wanted}")
    yield from (_package(requirement) for requirement in required if not requirement.extra)
    for extra in offered:
        yield _extra(extra, [requirement for requirement in required if requirement.extra == extra])


def _package(requirement: Requirement) -> Check:
    fault, found = requirement.fault(), requirement.installed()
    cure = f"run `make demo`, or: pip install '{requirement.text}'" if fault else ""
    if found is None:
        return Check(requirement.name, "missing", cure)
    return Check(requirement.name, f"{found}, want {requirement.versions}" if fault else found, cure)


def _extra(name: str, required: Sequence[Requirement]) -> Check:
    """An extra is never needed for the main job: what is missing of it is said, and is well."""
    brings = BRINGS.get(name, "")
    faults = [fault for requirement in required if (fault := requirement.fault())]
    if faults:
        how = f"pip install '{DISTRIBUTION}[{name}]' ({', '.join(faults)})"
        return Check(f"extra {name}", f"not installed: {brings}; {how}", "", optional=True)
    return Check(f"extra {name}", f"installed: {brings} ({', '.join(r.name for r in required)})", "")


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
    if group == "generators":
        from splitfed.generators import GENERATORS

        return GENERATORS
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
