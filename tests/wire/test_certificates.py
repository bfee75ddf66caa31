"""A federation's own authority: what its certificates allow, and what they do not; and the folders that hold them."""

from __future__ import annotations

import datetime
import shutil
import stat
import subprocess
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from splitfed.errors import LinkLost, UserError
from splitfed.wire import certificate_folders
from splitfed.wire.certificate_folders import add_party, make_certificates
from splitfed.wire.certificates import LOOPBACK, Authority, check_hosts, check_party
from splitfed.wire.link import GrpcLink
from splitfed.wire.service import SplitServer
from splitfed.wire.tls import TlsFiles, TlsIdentity
from tests.wire.hosts import SECRET, ToyHost, hello
from tests.wire.parties import DAY, OURS, STRANGERS, identity

PARTIES = ["server", "superlink", "attacker", "lab", "client-0", "client-1"]


def parsed(found: TlsIdentity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(found.certificate)


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


# what is signed


@pytest.mark.parametrize("party", PARTIES)
def test_a_certificate_is_for_one_purpose_and_signs_no_others(party: str) -> None:
    found = parsed(identity(party))
    serves = party in ("server", "superlink")
    assert purposes(found) == [ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH]
    basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert basic.critical
    assert not basic.value.ca
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert isinstance(found.public_key(), ec.EllipticCurvePublicKey)
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(OURS.certificate))


def test_only_who_serves_is_called_by_a_host() -> None:
    hosts = ["lab.example.org", "10.0.0.5", "fe80::1", "LAB.example.org", "localhost"]
    assert names(parsed(OURS.issue("server", hosts, lifetime=DAY))) == [
        *("server", "lab.example.org", "10.0.0.5", "fe80::1", "localhost", "127.0.0.1", "::1")
    ]
    assert names(parsed(OURS.issue("superlink", lifetime=DAY))) == ["superlink", *LOOPBACK]
    for party in ("attacker", "lab", "client-7"):
        assert names(parsed(OURS.issue(party, hosts, lifetime=DAY))) == [party]


def test_an_authority_signs_certificates_and_no_authorities() -> None:
    found = x509.load_pem_x509_certificate(OURS.certificate)
    basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert usage.key_cert_sign
    assert not usage.digital_signature


def test_authorities_have_names_and_serial_numbers_of_their_own() -> None:
    ours, others = (x509.load_pem_x509_certificate(a.certificate) for a in (OURS, STRANGERS))
    assert ours.subject != others.subject
    again = parsed(OURS.issue("server", lifetime=DAY))
    assert again.serial_number != parsed(identity("server")).serial_number
    assert again.public_key() != parsed(identity("server")).public_key()


def test_nothing_outlives_its_authority() -> None:
    found = parsed(OURS.issue("client-0", lifetime=100 * DAY))
    assert found.not_valid_after_utc == OURS.ends
    assert found.not_valid_before_utc < datetime.datetime.now(datetime.UTC)


def test_an_authority_that_has_expired_signs_nothing() -> None:
    with pytest.raises(UserError, match=r"the authority has expired \(\d{4}-"):
        Authority.new(datetime.timedelta(seconds=-1)).issue("server", lifetime=DAY)


def test_a_certificate_signed_by_a_client_is_good_for_nothing() -> None:
    """A client's key signs a certificate that names the server: no chain may lead over it."""
    mine = identity("client-0")
    rogue = Authority.load(mine.certificate, mine.key).issue("server", lifetime=DAY)
    chained = TlsIdentity(OURS.certificate, rogue.certificate + mine.certificate, rogue.key)
    credentials = identity("client-1").channel_credentials()
    with (
        SplitServer(ToyHost(), secret=SECRET, credentials=chained.server_credentials()) as impostor,
        pytest.raises(LinkLost, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        GrpcLink([impostor.address], hello(client=1), retries=0, credentials=credentials)


@pytest.mark.parametrize("name", ["", "client", "client-", "client-01", "client--1", "client-1 ", "Server", "relay"])
def test_who_is_no_party_gets_no_certificate(name: str) -> None:
    with pytest.raises(UserError, match="is no party: want server, superlink, attacker, lab, or client-0"):
        check_party(name)


@pytest.mark.parametrize(
    "host", ["", "a b", "lab:9000", "[::1]", "-a", "a..b", "a/b", "*.example.org", "ü.example", "a" * 64]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(UserError, match="want a DNS name or an address without a port"):
        check_hosts([host])


@pytest.mark.parametrize("host", ["server", "superlink", "client-0"])
def test_no_party_is_called_by_the_name_of_another(host: str) -> None:
    """SuperLink's certificate would pass for the server's, were that one of its hosts."""
    with pytest.raises(UserError, match="is the name of a party"):
        check_hosts(["lab.example.org", host])


# folders


def test_the_folders_hold_what_the_parties_need_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "certs"
    assert make_certificates(folder, clients=2, hosts=["lab.example.org"], days=2) == PARTIES
    assert sorted(path.name for path in folder.iterdir()) == sorted([*PARTIES, "ca.key.pem", "ca.pem"])
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    for party in PARTIES:
        files = TlsFiles.in_folder(folder / party)
        assert files.server_credentials() if party == "server" else True
        assert files.ca.read_bytes() == (folder / "ca.pem").read_bytes()
        assert sorted(path.name for path in (folder / party).iterdir()) == [
            *("ca.pem", "certificate.pem", "key.pem", "node_key", "node_key.pub")
        ]
    authority = (folder / "ca.key.pem").read_bytes()
    assert all(path.read_bytes() != authority for party in PARTIES for path in (folder / party).iterdir())


def test_the_parties_of_a_folder_train_and_one_that_is_added_takes_part(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder, clients=1, hosts=[], days=2)
    ends = add_party(folder, "client-2", hosts=[], days=100)
    assert ends <= datetime.datetime.now(datetime.UTC) + 2 * DAY
    credentials = TlsFiles.in_folder(folder / "server").server_credentials()
    with SplitServer(ToyHost(), secret=SECRET, credentials=credentials) as server:
        for client in (0, 2):
            own = TlsFiles.in_folder(folder / f"client-{client}").channel_credentials()
            with GrpcLink([server.address], hello(client=client), retries=0, credentials=own) as link:
                link.done(0, 0)


def test_flower_takes_the_keys_of_its_nodes(tmp_path: Path) -> None:
    from flwr.cli.supernode.register import try_load_public_key
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    make_certificates(tmp_path / "certs", clients=1, hosts=[], days=2)
    own = tmp_path / "certs" / "client-0"
    key = load_ssh_private_key((own / "node_key").read_bytes(), None)  # as flower-supernode does
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP384R1)
    assert try_load_public_key(own / "node_key.pub") == public_key_to_bytes(key.public_key())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="asks the program openssl")
def test_openssl_agrees(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder, clients=1, hosts=["lab.example.org"], days=2)
    for party, purpose in (("server", "sslserver"), ("superlink", "sslserver"), ("client-0", "sslclient")):
        certificate = str(folder / party / "certificate.pem")
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(folder / "ca.pem")]
        done = subprocess.run([*command, certificate], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder, clients=1, hosts=[], days=2)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="certs is there already, and nothing in it is overwritten"):
        make_certificates(folder, clients=1, hosts=[], days=2)
    with pytest.raises(UserError, match="client-0 is there already"):
        add_party(folder, "client-0", hosts=[], days=2)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_an_empty_folder_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir(mode=0o755)
    make_certificates(folder, clients=1, hosts=[], days=2)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_half_an_authority_is_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_late(folder: Path, *_: object) -> None:
        if folder.name == "client-0":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(certificate_folders, "_fill", fails_late)
    with pytest.raises(UserError, match=r"cannot make .*certs: No space left on device; free space there"):
        make_certificates(tmp_path / "certs", clients=1, hosts=[], days=2)
    assert list(tmp_path.iterdir()) == []


def test_a_party_is_added_to_an_authority_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no ca\.pem: make an authority there first, without --add"):
        add_party(tmp_path, "client-0", hosts=[], days=2)
    (tmp_path / "ca.pem").write_bytes(OURS.certificate)
    (tmp_path / "ca.key.pem").write_bytes(STRANGERS.key)
    with pytest.raises(UserError, match=r"ca\.pem and ca\.key\.pem are no authority: the key is not that of"):
        add_party(tmp_path, "client-0", hosts=[], days=2)
    assert not (tmp_path / "client-0").exists()


def test_a_certificate_that_is_renewed_takes_the_place_of_a_folder_that_was_moved(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder, clients=1, hosts=[], days=2)
    (folder / "server").rename(folder / "server.old")
    add_party(folder, "server", hosts=["10.0.0.5"], days=1)
    assert TlsFiles.in_folder(folder / "server").server_credentials()
    assert isinstance(TlsFiles.in_folder(folder / "client-0").channel_credentials(), grpc.ChannelCredentials)
