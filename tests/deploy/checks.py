"""What has to be true of the services of docker-compose.yml: their table, what is kept apart, who may be killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.deploy.deployment import SAID, Deployment

DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


def to_its_table(deployment: Deployment) -> None:
    """The quick scenario ends with its table, all cells valid."""
    deployment.up()
    deployment.until("round 1 of 2 done")
    kept_apart(deployment)
    code = deployment.exit_code()
    log = deployment.log()
    assert code == 0, log[-SAID:]
    for sign in ("finished, all cells valid", "strongest", "mean image"):
        assert sign in log, log[-SAID:]


def kept_apart(deployment: Deployment) -> None:
    """The relay is the only way to the server, and the attacker has no file of a client."""
    for host in ["server", *deployment.addresses("server")]:
        for port in ("9091", "9100"):
            tried = deployment.ask("client-1", "python3", "-c", DIAL, host, port)
            assert tried.returncode != 0, f"client-1 reaches the server at {host}:{port}"
            # a command that cannot be run at all would pass for a way that is barred
            assert "create_connection" in tried.stderr, tried.stderr
    relay = deployment.ask("client-1", "python3", "-c", DIAL, "attacker", "9092")
    assert relay.returncode == 0, f"client-1 does not reach the relay: {relay.stderr}"
    inside = deployment.mounted("attacker")
    assert inside == {"/etc/splitfed/attacker.toml", "/images", "/state", "/runs"}, inside
    files = deployment.ask("attacker", "ls", "/data", "/decoded", "/images", "/runs").stdout.split()
    assert files == ["/data:", "/decoded:", "/images:", "auxiliary.npz", "/runs:"], files
    assert deployment.ask("client-1", "id", "-un").stdout.strip() == "splitfed"


def with_parties_killed(deployment: Deployment) -> None:
    """Under TLS, with a client and the attacker killed in mid-run: the round goes on, and the outcome is a true one."""
    deployment.up()
    deployment.until("round 1 of")
    for service in ("client-3", "attacker"):
        deployment.kill(service)
    deployment.start("attacker")  # what a restart policy does, after a pause
    code = deployment.exit_code()
    log = deployment.log()
    assert code == 3, f"{code}: {log[-SAID:]}"
    assert "client-2 lost" in log or "client 2" in log, log[-SAID:]
    assert "INVALID" in log, log[-SAID:]


@dataclass(frozen=True)
class Check:
    """One run of the services of a profile.

    Attributes:
        arguments: options of ``splitfed scenario``.
    """

    profile: str
    arguments: str
    holds: Callable[[Deployment], None]

    def run(self, deployment: Deployment) -> str:
        """What was checked, and how long it took.

        Raises:
            AssertionError: it is not so.
        """
        began = time.monotonic()
        try:
            self.holds(deployment)
        finally:
            deployment.down()
        return f"profile {self.profile}: {self.holds.__name__} in {time.monotonic() - began:.0f} s"


CHECKS = {
    check.profile: check
    for check in (
        Check("plain", "--quick", to_its_table),
        # the SuperLink holds the place of a node that was killed for a minute: clients wait longer for the relay
        Check("tls", "--quick --set 'defense=[\"none\"]' --set federation.stream_deadline_s=180", with_parties_killed),
    )
}
