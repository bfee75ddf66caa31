"""The certificates of a small federation, made for the tests."""

from __future__ import annotations

import datetime
from functools import cache
from pathlib import Path

from splitfed.files import write_whole
from splitfed.wire.certificates import Authority
from splitfed.wire.tls import TlsFiles, TlsIdentity

DAY = datetime.timedelta(days=1)


OURS, STRANGERS = Authority.new(DAY), Authority.new(DAY)


@cache
def identity(party: str, authority: Authority = OURS) -> TlsIdentity:
    """A party of one of the two, the same each time."""
    return authority.issue(party, lifetime=DAY)


def written(folder: Path, found: TlsIdentity) -> TlsFiles:
    """The same in files, as open as they may be."""
    folder.mkdir(parents=True, exist_ok=True)
    files = TlsFiles.in_folder(folder)
    for path, content in ((files.ca, found.ca), (files.certificate, found.certificate), (files.key, found.key)):
        write_whole(path, content)
        path.chmod(0o600)
    return files
