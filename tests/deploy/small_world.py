"""What tests look at in a world of its own: namespaces of small programs, which start in a second, and the true roles.

    python -m tests.deploy.small_world CASE FILE

FILE is a file of services: small-compose.yml or one like it, docker-compose.yml for the case ``roles``. A case ends
with an AssertionError where something is not so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.deploy.checks import kept_apart, to_its_table
from tests.deploy.deployment import ROOT
from tests.deploy.image import image
from tests.deploy.namespaces import Namespaces
from tests.deploy.world import command_in_world, enter

FETCH = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=3)"


def apart(deployment: Namespaces) -> None:
    """The check itself, on small programs."""
    deployment.up()
    kept_apart(deployment)


def roles(deployment: Namespaces) -> None:
    """The check itself, on the true roles."""
    to_its_table(deployment)


def names(deployment: Namespaces) -> None:
    """A name leads somewhere where a network does, and nowhere else; so does an address."""
    deployment.up()
    for name in ("attacker", "relay.internal"):
        asked = deployment.ask("client-1", "python3", "-c", FETCH, f"http://{name}:9092/")
        assert asked.returncode == 0, asked.stderr
    for name in ("server", "deal", "runner.internal", ROOT.name):
        assert deployment.ask("client-1", "getent", "hosts", name).returncode != 0, name
    assert deployment.ask("server", "getent", "hosts", "client-1").returncode != 0
    barred = deployment.ask("client-1", "python3", "-c", FETCH, f"http://{deployment.addresses('server')[0]}:9091/")
    assert "unreachable" in barred.stderr, barred.stderr


def files(deployment: Namespaces) -> None:
    """A party has its own files, as a user without rights, and none of this machine's but programs."""
    deployment.up()

    def does(script: str) -> bool:
        return deployment.ask("client-1", "sh", "-ec", script).returncode == 0

    assert does('test "$(uname -n)" = client-1; test "$(id -un)" = splitfed')
    assert does('test "$HOME" = /home/splitfed; test "$SPLITFED_DATA" = /data')
    assert does("test -e ~/built; echo more >> ~/built")
    assert does("touch ~/mine /tmp/mine /runs/mine /state/mine; mkdir -p ~/.cache/numba; echo > /dev/null")
    assert does("grep -q 'CapEff:.*0000000000000000' /proc/self/status; grep -q 'CapBnd:.*000000' /proc/self/status")
    assert does("grep -q 'NoNewPrivs:.*1' /proc/self/status")
    assert does("splitfed scenarios | grep -q medmnist_split")
    for barred in ("touch /data/mine", "touch /etc/mine", "touch /usr/mine", "touch /opt/packages/splitfed/mine"):
        assert not does(barred), barred
    assert not does(f"test -e {ROOT / 'tests'}")
    assert not does("ls -d /.outside/* /run/splitfed")
    assert len(deployment.ask("client-1", "sh", "-c", "ls -d /proc/[0-9]*").stdout.split()) < 6


def ends(deployment: Namespaces) -> None:
    """An exit code is passed on; who is killed is gone at once, and may start again on its volumes."""
    deployment.up()
    deployment.until("round 1 of 2 done")
    deployment.kill("attacker")
    assert not deployment.running("attacker")
    gone = deployment.ask("client-1", "python3", "-c", FETCH, "http://attacker:9092/")
    assert "refused" in gone.stderr, gone.stderr
    deployment.start("attacker")
    deployment.ask("attacker", "sh", "-c", 'until test "$(wc -l < /state/begun)" -gt 1; do sleep 0.1; done')
    assert deployment.ask("attacker", "cat", "/state/begun").stdout == "begun\nbegun\n"
    assert deployment.exit_code() == 3
    began = time.monotonic()
    deployment.down()
    assert time.monotonic() - began < 9, "who is asked to end does not"
    assert not deployment.running("server")


def stays(deployment: Namespaces) -> None:
    """Up, until somebody ends it from outside."""
    deployment.up()
    sys.stdout.write("up\n")
    sys.stdout.flush()
    time.sleep(600)


CASES = {case.__name__: case for case in (apart, roles, names, files, ends, stays)}


def main(case: str, file: str) -> int:
    """Go into a world of its own, and look."""
    if os.getpid() != 1:
        command = command_in_world([sys.executable, "-m", "tests.deploy.small_world", case, file])
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    enter()
    plain = replace(image(ROOT / "Dockerfile"), steps=[("touch", "/home/splitfed/built")])
    deployment = Namespaces(Path(file), "plain", os.environ, plain)
    try:
        CASES[case](deployment)
    finally:
        deployment.down()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
