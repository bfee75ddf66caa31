"""``splitfed certs`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.wire.tls import TlsFiles


def test_certificates_are_made_and_a_client_is_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "certs"
    made = ["certs", str(folder), "--host", "lab.example.org", "--host", "10.0.0.5", "--clients", "2", "--days", "30"]
    assert main(made) == exit_codes.OK
    told = capsys.readouterr().out
    for party in ("server", "superlink", "attacker", "lab", "client-0", "client-1"):
        assert f"{folder / party}/" in told
    assert "ca.key.pem" in told
    assert "client-2" not in told
    assert "30 days" in told
    assert main(["certs", str(folder), "--add", "client-2"]) == exit_codes.OK
    assert "client-2/ for the machine of client-2, good until" in capsys.readouterr().out
    assert TlsFiles.in_folder(folder / "client-2").channel_credentials()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "certs is there already, and nothing in it is overwritten"),
        (["--add", "client-x"], "'client-x' is no party"),
        (["--add", "client-1", "--clients", "2"], "--add names one party, --clients makes all"),
        (["--add", "client-0"], "client-0 is there already"),
        (["--host", "lab:9000"], "want a DNS name or an address without a port"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    folder = str(tmp_path / "certs")
    assert main(["certs", folder, "--clients", "1"]) == exit_codes.OK
    capsys.readouterr()
    assert main(["certs", folder, *arguments]) == exit_codes.USER_MISTAKE
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("option", [["--clients", "0"], ["--clients", "257"], ["--days", "-1"], ["--days", "1e3"]])
def test_numbers_that_mean_nothing_are_refused(tmp_path: Path, option: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["certs", str(tmp_path / "certs"), *option])
    assert end.value.code == exit_codes.USER_MISTAKE
    assert not (tmp_path / "certs").exists()
