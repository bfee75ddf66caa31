"""What has to be true of the services of docker-compose.yml: their table, what is kept apart, who may be killed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.deploy.deployment import SAID, Deployment

READ = """
import sys, urllib.request as u
token, path = sys.argv[1:]
browser, site = u.build_opener(u.HTTPCookieProcessor()), "http://127.0.0.1:8080/"
if token:
    browser.open(f"{site}?token={token}", timeout=10)
print(browser.open(site + path, timeout=10).read().decode())
"""
"""Prints what the page says at a path; without a token it is asked as by a stranger."""
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
    shown_in_a_browser(deployment)


def shown_in_a_browser(deployment: Deployment) -> None:
    """The page shows the run and its wall to who has the token of its log, and nothing to anybody else."""
    log = deployment.log("web")
    token = re.search(r"http://127\.0\.0\.1:\d+/\?token=(\S+)", log)
    assert token is not None, log[-SAID:]
    barred = deployment.ask("web", "python3", "-c", READ, "", "api/runs")
    assert "HTTP Error 401" in barred.stderr, barred.stderr
    (run,) = _shown(deployment, token[1], "api/runs")
    assert (run["state"], run["valid"]) == ("finished", True), run
    wall = _shown(deployment, token[1], f"api/runs/{run['id']}/wall")
    assert wall["victims"]["sheets"], wall["victims"]
    assert len(wall["cells"]) == run["cells"] == run["of"], wall["cells"].keys()


def _shown(deployment: Deployment, token: str, path: str) -> Any:
    """What the page answers to a browser that was opened at the printed address."""
    read = deployment.ask("web", "python3", "-c", READ, token, path)
    assert read.returncode == 0, read.stderr
    return json.loads(read.stdout)


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
        # a busy machine may take longer than the usual minute to have a killed attacker's relay listen again
        Check("tls", "--quick --set 'defense=[\"none\"]' --set federation.stream_deadline_s=180", with_parties_killed),
    )
}
