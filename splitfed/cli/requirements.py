"""What the installed distribution says that it requires, beside what is installed."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import NamedTuple

DISTRIBUTION = "splitfed"

_FORM = re.compile(r"(?P<name>[\w.-]+)\s*(\[[^\]]*\])?\s*(?P<versions>[^;]*)(;(?P<marker>.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[\w.-]+)['"]""")


class Requirement(NamedTuple):
    """A package, the versions that will do (``>=1.41,<1.42``; empty for any), and the extra that wants it, or none."""

    name: str
    versions: str
    extra: str

    @property
    def text(self) -> str:
        """As pip takes it."""
        return f"{self.name}{self.versions}"

    def installed(self) -> str | None:
        """The version that is here."""
        try:
            return version(self.name)
        except PackageNotFoundError:
            return None

    def fits(self, found: str) -> bool:
        """Whether that version will do; any does where `packaging`, which could tell, is missing."""
        try:
            from packaging.specifiers import SpecifierSet
        except ImportError:
            return True
        return SpecifierSet(self.versions).contains(found, prereleases=True)

    def fault(self) -> str:
        """What is wrong with what is installed, in words; empty where nothing is."""
        found = self.installed()
        if found is None:
            return f"{self.name} is missing"
        return "" if self.fits(found) else f"{self.name} {found}, want {self.versions}"


def requirements() -> list[Requirement]:
    """All that apply to this interpreter and platform, those of extras last.

    Raises:
        PackageNotFoundError: splitfed runs from a folder and is not installed.
    """
    found = [_read(line) for line in requires(DISTRIBUTION) or []]
    return sorted((r for r in found if r is not None), key=lambda requirement: requirement.extra)


def extras() -> list[str]:
    """The extras that there are, in the order of their declaration."""
    return metadata(DISTRIBUTION).get_all("Provides-Extra") or []


def python_wanted() -> str:
    """The versions of Python that will do."""
    return metadata(DISTRIBUTION)["Requires-Python"] or ""


def _read(line: str) -> Requirement | None:
    """One line of the metadata; None for one that does not apply here."""
    found = _FORM.match(line)
    assert found is not None, line
    marker = found["marker"] or ""
    extra = _EXTRA.search(marker)
    named = extra["extra"] if extra else ""
    if not _applies(marker, named):
        return None
    return Requirement(found["name"], found["versions"].strip(" ()").replace(" ", ""), named)


def _applies(marker: str, extra: str) -> bool:
    try:
        from packaging.markers import Marker
    except ImportError:
        return True
    return not marker or Marker(marker).evaluate({"extra": extra})
