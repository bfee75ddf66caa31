"""The certificates of a federation on disk: an authority, and a folder for each party that can be handed to it.

    certs/
        ca.pem                 whom all parties trust
        ca.key.pem             what signs for them; it stays where it is
        client-0/              for the machine of client 0, and so on for each party
            ca.pem             the same
            certificate.pem    who it is
            key.pem            what proves it
            node_key           the key by which Flower knows it as a SuperNode
            node_key.pub       what is registered with Flower's SuperLink

All of it is for its owner alone: folders have the mode 0700, files 0600.
"""

from __future__ import annotations

import datetime
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from splitfed.errors import UserError
from splitfed.files import DRAFT, as_open_as, cannot, write_whole
from splitfed.wire.certificates import ATTACKER, LAB, SUPERLINK, Authority, NodeKey, check_hosts, check_party
from splitfed.wire.tls import CA_FILE, CERTIFICATE_FILE, KEY_FILE, SERVER, client_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

AUTHORITY_KEY_FILE = "ca.key.pem"
NODE_KEY_FILE, NODE_PUBLIC_KEY_FILE = "node_key", "node_key.pub"


def make_certificates(folder: Path, *, clients: int, hosts: Sequence[str], days: int) -> list[str]:
    """A new authority with the certificates of all parties; the names of these.

    Args:
        folder: made by this; it may be there if it is empty.
        clients: client-0 up to as many.
        hosts: by which the server and Flower's SuperLink are dialed.
        days: how long all of it is good for.

    Raises:
        UserError: there is something in the folder already, it cannot be written, or a host is none.
    """
    check_hosts(hosts)
    parties = [SERVER, SUPERLINK, ATTACKER, LAB, *map(client_name, range(clients))]
    lifetime = datetime.timedelta(days=days)
    authority = Authority.new(lifetime)
    with _whole(folder) as draft:
        write_whole(draft / CA_FILE, authority.certificate)
        write_whole(draft / AUTHORITY_KEY_FILE, authority.key)
        for party in parties:
            (draft / party).mkdir()
            _fill(draft / party, authority, party, hosts, lifetime)
    return parties


def add_party(folder: Path, party: str, *, hosts: Sequence[str], days: int) -> datetime.datetime:
    """The certificate of one more party of an authority that is there; when it expires.

    Raises:
        UserError: the party has a folder already, there is no such authority, or it has expired.
    """
    check_party(party)
    check_hosts(hosts)
    authority = _authority(folder)
    lifetime = datetime.timedelta(days=days)
    with _whole(folder / party) as draft:
        _fill(draft, authority, party, hosts, lifetime)
    return min(datetime.datetime.now(datetime.UTC) + lifetime, authority.ends)


def _fill(folder: Path, authority: Authority, party: str, hosts: Sequence[str], lifetime: datetime.timedelta) -> None:
    identity, node = authority.issue(party, hosts, lifetime=lifetime), NodeKey.new()
    write_whole(folder / CA_FILE, identity.ca)
    write_whole(folder / CERTIFICATE_FILE, identity.certificate)
    write_whole(folder / KEY_FILE, identity.key)
    write_whole(folder / NODE_KEY_FILE, node.private)
    write_whole(folder / NODE_PUBLIC_KEY_FILE, node.public)


def _authority(folder: Path) -> Authority:
    paths = folder / CA_FILE, folder / AUTHORITY_KEY_FILE
    for path in paths:
        if not path.is_file():
            raise UserError(f"{folder} has no {path.name}: make an authority there first, without --add")
    try:
        return Authority.load(*(path.read_bytes() for path in paths))
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder}: {paths[0].name} and {paths[1].name} are no authority: {error}") from None


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A private folder to fill, which gets its name once all is in it.

    Raises:
        UserError: there is one of that name that is not empty, or it cannot be made.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and nothing in it is overwritten: name another, or move it away")
    draft = folder.parent / f".{secrets.token_hex(8)}{DRAFT}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=stat.S_IRWXU)
        with as_open_as(draft):
            yield draft
        draft.rename(folder)
    except OSError as error:
        raise cannot("make", folder, error) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(draft)
