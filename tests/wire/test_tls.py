"""Under TLS only parties of the same authority speak to each other, each under its own name; and what is wrong with a
file is said before anybody dials."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
import torch
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from splitfed.errors import LinkLost, Refused, UserError
from splitfed.types import Observation
from splitfed.wire.certificates import Authority
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap
from splitfed.wire.tls import TlsFiles, TlsIdentity, check_bearer
from tests.wire.hosts import SECRET, WIDTH, ToyHost, hello
from tests.wire.parties import DAY, OURS, STRANGERS, identity, written
from tests.wire.training import same, trace, trace_whole, train_front

STEPS = 3
FORGED = Authority(OURS._certificate, STRANGERS._key)
"""Calls itself what ours is called, and cannot sign with its key."""
CUT_OFF = "Socket closed|[Cc]onnection reset|[Bb]roken pipe"
"""Under TLS 1.3 a client that the server does not take learns no more than that."""


@pytest.fixture
def host() -> ToyHost:
    return ToyHost()


@pytest.fixture
def server(host: ToyHost, tmp_path: Path) -> Iterator[SplitServer]:
    credentials = written(tmp_path / "server", identity("server")).server_credentials()
    with SplitServer(host, secret=SECRET, credentials=credentials) as server:
        yield server


def credentials(party: str, authority: Authority = OURS) -> grpc.ChannelCredentials:
    return identity(party, authority).channel_credentials()


def link(address: str, given: grpc.ChannelCredentials | None, **changes: object) -> GrpcLink:
    return GrpcLink([address], hello(**changes), retries=0, deadline_s=10, credentials=given)


def trusting_us(stranger: TlsIdentity) -> TlsIdentity:
    """A stranger that knows our authority, whose certificate is no secret."""
    return dataclasses.replace(stranger, ca=OURS.certificate)


def step(line: GrpcLink) -> None:
    line.forward(0, torch.ones(2, WIDTH), torch.zeros(2, dtype=torch.int64))


# who may speak to whom


def test_training_under_tls_is_the_same_to_the_bit(server: SplitServer, host: ToyHost, tmp_path: Path) -> None:
    files = written(tmp_path / "client-0", identity("client-0"))
    found = trace(link(server.address, files.channel_credentials()), lambda: host.sessions[0].back, STEPS)
    assert same(found, trace_whole(STEPS))


def test_a_relay_carries_ciphertext_and_the_server_is_verified_behind_it(server: SplitServer) -> None:
    seen: list[Observation] = []
    notices: list[str] = []
    tap = Tap(seen.append, notices.append)
    with Relay(server.address, observer=tap, listen="127.0.0.1:0") as relay:
        for client in range(3):
            _, losses, _ = train_front(link(relay.address, credentials(f"client-{client}"), client=client), STEPS)
            assert len(losses) == STEPS
    assert (tap.ciphertext, tap.unparsed, seen) == (3, 3, [])
    assert notices == ["tap: connection 1 cannot be read: ciphertext (TLS): 0 activations"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda: None, CUT_OFF),
        (lambda: credentials("client-0", STRANGERS), "CERTIFICATE_VERIFY_FAILED"),
        (lambda: trusting_us(identity("client-0", STRANGERS)).channel_credentials(), CUT_OFF),
        (lambda: trusting_us(FORGED.issue("client-0", lifetime=DAY)).channel_credentials(), CUT_OFF),
        (lambda: grpc.ssl_channel_credentials(OURS.certificate), CUT_OFF),
        (lambda: credentials("server"), CUT_OFF),
    ],
    ids=["in clear", "trusts another authority", "is of another", "is of one of the same name", "none", "no client's"],
)
def test_who_is_no_client_of_this_authority_does_not_get_as_far_as_a_stream(
    server: SplitServer, host: ToyHost, given: Callable[[], grpc.ChannelCredentials | None], why: str
) -> None:
    with pytest.raises(LinkLost, match=why):
        link(server.address, given())
    assert (server.counters.streams, host.opened) == (0, 0)


@pytest.mark.parametrize("party", ["client-1", "attacker", "superlink", "lab"])
def test_another_party_of_the_same_authority_does_not_pass_for_the_server(host: ToyHost, party: str) -> None:
    """Whoever relays could answer in the server's name, had its own certificate been good for that."""
    with (
        SplitServer(host, secret=SECRET, credentials=identity(party).server_credentials()) as impostor,
        pytest.raises(LinkLost, match=r"unsupported certificate purpose|Hostname Verification Check failed"),
    ):
        link(impostor.address, credentials("client-0"))
    assert host.opened == 0


def test_a_server_in_clear_gets_nothing_from_a_client_under_tls(host: ToyHost) -> None:
    with SplitServer(host, secret=SECRET) as server, pytest.raises(LinkLost, match="WRONG_VERSION_NUMBER"):
        link(server.address, credentials("client-0"))
    assert (server.counters.streams, host.opened) == (0, 0)


# a token and a certificate go together


@pytest.mark.parametrize("thief", ["client-1", "attacker", "lab"])
def test_a_stolen_token_is_of_no_use_with_another_certificate(server: SplitServer, host: ToyHost, thief: str) -> None:
    with link(server.address, credentials("client-0")) as honest:
        step(honest)
        with pytest.raises(Refused, match=f"BAD_TOKEN: client-0: its token came with the certificate of {thief}"):
            link(server.address, credentials(thief), token=client_token(SECRET, 0))
        honest.done(1, 2)  # its place was not taken for a moment
    assert server.counters.refused == {"BAD_TOKEN": 1}
    assert host.opened == 1


def test_a_certificate_without_the_token_is_of_no_use_either(server: SplitServer) -> None:
    with pytest.raises(Refused, match="BAD_TOKEN: client-0: its proof was not made with the token"):
        link(server.address, credentials("client-0"), token="guess")


@pytest.mark.parametrize(
    ("peer", "refused"),
    [
        ({}, False),
        ({"transport_security_type": [b"ssl"]}, False),
        ({"x509_pem_cert": [b"-"], "x509_subject_alternative_name": [b"client-2"]}, False),
        ({"x509_pem_cert": [b"-"], "x509_subject_alternative_name": [b"10.0.0.1", b"client-2"]}, False),
        ({"x509_pem_cert": [b"-"], "x509_subject_alternative_name": [b"client-20"]}, True),
        ({"x509_pem_cert": [b"-"], "x509_subject_alternative_name": [b"\xff"]}, True),
        ({"x509_pem_cert": [b"-"], "x509_common_name": [b"client-2"]}, True),
    ],
)
def test_what_a_certificate_has_to_name(peer: dict[str, list[bytes]], refused: bool) -> None:
    if not refused:
        check_bearer(peer, 2)
        return
    with pytest.raises(Refused, match="BAD_TOKEN: client-2: its token came with the certificate of"):
        check_bearer(peer, 2)


# mistakes in files


def mixed(files: TlsFiles, folder: Path) -> TlsFiles:
    return dataclasses.replace(files, key=written(folder / "other", identity("client-1")).key)


def of_another_authority(files: TlsFiles, folder: Path) -> TlsFiles:
    return dataclasses.replace(files, ca=written(folder / "other", identity("client-0", STRANGERS)).ca)


def overwritten(name: str, content: bytes) -> Callable[[TlsFiles, Path], TlsFiles]:
    def change(files: TlsFiles, folder: Path) -> TlsFiles:
        del folder
        getattr(files, name).write_bytes(content)
        return files

    return change


def encrypted(files: TlsFiles, folder: Path) -> TlsFiles:
    del folder
    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    return files


def opened(mode: int) -> Callable[[TlsFiles, Path], TlsFiles]:
    def change(files: TlsFiles, folder: Path) -> TlsFiles:
        del folder
        files.key.chmod(mode)
        return files

    return change


def removed(name: str) -> Callable[[TlsFiles, Path], TlsFiles]:
    def change(files: TlsFiles, folder: Path) -> TlsFiles:
        del folder
        getattr(files, name).unlink()
        return files

    return change


def at(shift: datetime.timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the checks believe that it is another time."""

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(datetime.datetime.now(tz).timestamp(), tz) + shift

    clock = SimpleNamespace(datetime=Shifted, UTC=datetime.UTC)
    monkeypatch.setattr("splitfed.wire.tls_checks.datetime", clock)


MISTAKES: dict[str, tuple[Callable[[TlsFiles, Path], TlsFiles], str]] = {
    "no authority": (removed("ca"), r"cannot read .*ca\.pem: No such file or directory; check the path"),
    "no certificate": (removed("certificate"), r"cannot read .*certificate\.pem: No such file"),
    "no key": (removed("key"), r"cannot read .*key\.pem: No such file"),
    "no PEM": (overwritten("certificate", b"\x30\x82"), r"certificate\.pem holds no certificate in PEM"),
    "empty": (overwritten("ca", b""), r"ca\.pem holds no certificate in PEM"),
    "a key for a certificate": (overwritten("certificate", identity("client-0").key), "holds no certificate in PEM"),
    "a certificate for a key": (overwritten("key", identity("client-0").certificate), "holds no private key in PEM"),
    "a key with a password": (encrypted, r"key\.pem is encrypted: .* want it as it is"),
    "a key of another": (
        mixed,
        r"other/key\.pem is not the key of .*certificate\.pem: name the two files of one party",
    ),
    "another authority": (of_another_authority, r"certificate\.pem is not signed by .*other/ca\.pem"),
    "others may read the key": (opened(0o644), r"key\.pem is open to others \(mode 0644\): chmod 600"),
    "others may write the key": (opened(0o602), r"key\.pem is open to others \(mode 0602\): chmod 600"),
}


@pytest.mark.parametrize(("change", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_in_the_files_is_said_with_the_file(
    tmp_path: Path, change: Callable[[TlsFiles, Path], TlsFiles], message: str
) -> None:
    files = change(written(tmp_path / "own", identity("client-0")), tmp_path)
    with pytest.raises(UserError, match=message) as told:
        files.channel_credentials()
    assert "PRIVATE KEY" not in str(told.value).replace("-----BEGIN PRIVATE KEY-----", "")


def test_a_key_may_be_read_by_a_group_where_the_administrator_hands_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = written(tmp_path, identity("client-0"))
    files.key.chmod(0o640)
    with pytest.raises(UserError, match="is open to others"):
        files.channel_credentials()
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    if files.key.stat().st_uid == 0:
        assert files.channel_credentials()
        files.key.chmod(0o644)
    with pytest.raises(UserError, match="is open to others"):
        files.channel_credentials()


def test_an_expired_certificate_is_said_with_its_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = written(tmp_path, OURS.issue("client-0", lifetime=DAY / 2))
    at(0.6 * DAY, monkeypatch)
    with pytest.raises(UserError, match=r"/certificate\.pem has expired \(\d{4}-\d\d-\d\d \d\d:\d\d UTC\)"):
        files.channel_credentials()
    at(1.1 * DAY, monkeypatch)
    with pytest.raises(UserError, match=r"/ca\.pem has expired"):
        files.channel_credentials()
    at(-DAY, monkeypatch)
    with pytest.raises(UserError, match=r"/ca\.pem is not valid before .* is this machine's clock right\?"):
        files.channel_credentials()


@pytest.mark.parametrize("party", ["client-0", "attacker", "lab"])
def test_a_server_needs_a_certificate_for_serving(tmp_path: Path, party: str) -> None:
    with pytest.raises(UserError, match=r"certificate\.pem is not for a server"):
        written(tmp_path, identity(party)).server_credentials()


def test_a_server_needs_the_name_that_clients_ask_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is of superlink, localhost: clients want a server whose .* names 'server'"):
        written(tmp_path, identity("superlink")).server_credentials()


def test_a_client_needs_a_certificate_for_clients(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"certificate\.pem is not for a client"):
        written(tmp_path, identity("server")).channel_credentials()


def test_credentials_go_on_until_the_next_start(tmp_path: Path, host: ToyHost) -> None:
    """What is in the files later does not matter to a server that has started."""
    files = written(tmp_path, identity("server"))
    with SplitServer(host, secret=SECRET, credentials=files.server_credentials()) as server:
        written(tmp_path, identity("server", STRANGERS))
        with link(server.address, credentials("client-0")) as line:
            step(line)


def test_no_key_is_shown_by_what_is_printed() -> None:
    assert identity("client-0").key.decode() not in repr(identity("client-0"))
    assert "PRIVATE" not in repr(identity("client-0"))


def test_an_authority_of_the_same_name_is_another(host: ToyHost) -> None:
    """Who cannot sign with the key cannot make parties, whatever it calls itself."""
    signed = FORGED.issue("server", lifetime=DAY)
    with (
        SplitServer(host, secret=SECRET, credentials=signed.server_credentials()) as impostor,
        pytest.raises(LinkLost, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        link(impostor.address, credentials("client-0"))
