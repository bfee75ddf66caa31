"""The JavaScript and CSS that page and report share, as files to serve and as text to put into a page.

`static/vendor` holds the chart library as the npm registry has it; `vendor.json` there says which version, under which
license, with which checksum. A test compares the files with the registry's.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
"""Modules and style sheet, served as they are."""
VENDOR = ("vendor/d3.min.js", "vendor/plot.umd.min.js")
"""The chart library: what it is built on, then itself. Classic scripts that set `d3` and `Plot`."""
STYLE_HASH = "sha256-jSYQUrW7J0b3jPqhZP9C2Xh1PyJKHKXd4s0fpGGKrww="
"""Of the one style element that Plot puts into its drawings, always the same: what a content security policy allows."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


def style() -> str:
    """The style sheet that page and report share."""
    return (FOLDER / "style.css").read_text(encoding="utf-8")


def vendor_script() -> str:
    """The chart library as one script."""
    return "\n".join(_inline((FOLDER / name).read_text(encoding="utf-8")) for name in VENDOR)


def bundle(entry: str) -> str:
    """A module with all that it imports as one script, each module once and after what it needs.

    A page that is one file has nowhere to import from. Modules are therefore written so that joining them is enough:
    they import by name from files beside them, nothing has a default, and no two have a name in common.
    """
    parts: dict[str, str] = {}
    _gather(entry, parts)
    return _inline("\n".join(parts.values()))


def _gather(name: str, parts: dict[str, str]) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for needed in _IMPORT.findall(text):
        if needed not in parts:
            _gather(needed, parts)
    parts[name] = _EXPORT.sub("", _IMPORT.sub("", text))


def _inline(script: str) -> str:
    """A script that cannot end the element that it stands in."""
    return script.replace("</", "<\\/")
