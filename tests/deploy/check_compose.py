"""docker-compose.yml, run for real: to its table, under TLS, with parties that are killed, and what is kept apart.

    python -m tests.deploy.check_compose [plain] [tls]

The image is built from the Dockerfile; its heavy layers are this environment's own packages, mounted. `make
compose-check` runs it. It exits with 1 where something is not as it should be, and with 0, loudly, where there is no
engine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.deploy.engine import NoEngine, base_image, engine

ROOT = Path(__file__).parents[2]
FILES = ["-f", "docker-compose.yml", "-f", "tests/deploy/compose.mounted.yml"]
KEPT = Path(os.environ.get("SPLITFED_ENGINE", "/var/tmp/splitfed-engine"))
UP_S, RUN_S = 300, 600
POLL_S = 0.5
PROJECT = "splitfed-check"


class Compose:
    """One project of `docker compose`."""

    def __init__(self, environment: dict[str, str], profile: str, arguments: str) -> None:
        self._environment = {**environment, "SPLITFED_ARGS": arguments, "COMPOSE_PROFILES": profile}
        self._suffix = "-tls" if profile == "tls" else ""

    def __call__(self, *words: str, check: bool = True, timeout_s: float = UP_S) -> str:
        """What a command says."""
        command = ["docker", "compose", "--project-name", PROJECT, *FILES, *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"docker compose {' '.join(words)}: {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def name(self, service: str) -> str:
        """The service of this name in this profile."""
        return service + self._suffix

    def container(self, service: str) -> str:
        """The container of a service."""
        return f"{PROJECT}-{self.name(service)}-1"

    def inspect(self, service: str, form: str) -> str:
        """What the engine says of a container."""
        return self.docker("inspect", "--format", form, self.container(service))

    def docker(self, *words: str) -> str:
        """What a command of the engine says."""
        done = subprocess.run(["docker", *words], env=self._environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def log(self) -> str:
        """What the runner has said."""
        return self("logs", "--no-log-prefix", self.name("runner"), check=False)

    def up(self) -> None:
        """Start all, and wait until the runner has begun."""
        self("up", "--no-build", "--detach", timeout_s=UP_S)

    def until(self, sign: str) -> None:
        """Wait until the runner says this."""
        deadline = time.monotonic() + RUN_S
        while sign not in self.log():
            assert self.running("runner"), f"the runner ended without {sign!r}:\n{self.log()[-3000:]}"
            assert time.monotonic() < deadline, f"no {sign!r} within {RUN_S} s:\n{self.log()[-3000:]}"
            time.sleep(POLL_S)

    def running(self, service: str) -> bool:
        """Whether a container runs."""
        return self.inspect(service, "{{.State.Running}}") == "true"

    def exit_code(self) -> int:
        """The runner's, once it has ended."""
        deadline = time.monotonic() + RUN_S
        while self.running("runner"):
            assert time.monotonic() < deadline, f"the runner did not end:\n{self.log()[-3000:]}"
            time.sleep(POLL_S)
        return int(self.inspect("runner", "{{.State.ExitCode}}"))

    def down(self) -> None:
        """Leave nothing behind."""
        self("down", "--volumes", "--timeout", "12", check=False)


def build(environment: dict[str, str]) -> str:
    """The image for the checks."""
    base = base_image(environment, KEPT)
    for arguments in (
        ["--target", "light", "--build-arg", f"BASE={base}", "--tag", "splitfed-light"],
        ["--file", "tests/deploy/Dockerfile", "--tag", "splitfed-test"],
    ):
        command = ["docker", "build", "--quiet", "--network=host", *arguments, "."]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return compiled(environment)


def compiled(environment: dict[str, str]) -> str:
    """The image with the solver compiled, as the Dockerfile's last stage does it: here the packages are mounted."""
    container, image = "splitfed-ahead", "splitfed-test-ahead"
    packages = f"{sysconfig.get_path('purelib')}:/opt/packages:ro"
    for words in (
        ["rm", "--force", container],
        ["run", "--name", container, "--network=none", "--volume", packages, "--entrypoint", "python3",
         "splitfed-test", "-m", "splitfed.models.sparse.ahead"],
        ["commit", "--change", 'ENTRYPOINT ["splitfed"]', "--change", 'CMD ["--help"]', container, image],
        ["rm", container],
    ):  # fmt: skip
        subprocess.run(["docker", *words], env=environment, check=True, capture_output=True, timeout=UP_S)
    return image


def to_its_table(compose: Compose) -> None:
    """The quick scenario ends with its table, all cells valid."""
    compose.up()
    compose.until("round 1 of 2 done")
    kept_apart(compose)
    code = compose.exit_code()
    log = compose.log()
    assert code == 0, log[-3000:]
    for sign in ("finished, all cells valid", "strongest", "mean image"):
        assert sign in log, log[-3000:]
    shown_in_a_browser(compose)


def shown_in_a_browser(compose: Compose) -> None:
    """The page shows the run and its wall to who has the token of its log, and nothing to anybody else."""
    log = compose("logs", "--no-log-prefix", "web")
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", log)
    assert address is not None, log[-3000:]
    site = address[0].partition("?")[0]
    assert _status(f"{site}api/runs") == 401
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.open(address[0], timeout=UP_S)
    (run,) = json.loads(browser.open(f"{site}api/runs", timeout=UP_S).read())
    assert (run["state"], run["valid"]) == ("finished", True), run
    wall = json.loads(browser.open(f"{site}api/runs/{run['id']}/wall", timeout=UP_S).read())
    assert wall["victims"]["sheets"], wall["victims"]
    assert len(wall["cells"]) == run["cells"] == run["of"], wall["cells"].keys()


def kept_apart(compose: Compose) -> None:
    """The relay is the only way to the server, and the attacker has no file of a client."""
    dial = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
    networks = json.loads(compose.inspect("server", "{{json .NetworkSettings.Networks}}"))
    for host in ["server", *(network["IPAddress"] for network in networks.values())]:
        for port in ("9091", "9100"):
            words = ["exec", "-T", compose.name("client-1"), "python3", "-c", dial, host, port]
            tried = subprocess.run(
                ["docker", "compose", "--project-name", PROJECT, *FILES, *words],
                cwd=ROOT, env=compose._environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert tried.returncode != 0, f"client-1 reaches the server at {host}:{port}"
    compose("exec", "-T", compose.name("client-1"), "python3", "-c", dial, "attacker", "9092")
    mounts = json.loads(compose.inspect("attacker", "{{json .Mounts}}"))
    inside = {mount["Destination"] for mount in mounts} - {"/opt/packages"}
    assert inside == {"/etc/splitfed/attacker.toml", "/images", "/state", "/runs"}, inside
    images = compose("exec", "-T", compose.name("attacker"), "ls", "/images", "/runs").split()
    assert images == ["/images:", "auxiliary.npz", "/runs:"], images
    assert compose.inspect("client-1", "{{.Config.User}}") == "splitfed"


def _status(address: str) -> int:
    """What a server answers to who has nothing but the address."""
    try:
        with urllib.request.urlopen(address, timeout=UP_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def with_parties_killed(compose: Compose) -> None:
    """Under TLS, with a client and the attacker killed in mid-run: the round goes on, and the outcome is a true one."""
    compose.up()
    compose.until("round 1 of")
    for service in ("client-3", "attacker"):
        compose.docker("update", "--restart", "no", compose.container(service))
        compose.docker("kill", compose.container(service))
    compose.docker("start", compose.container("attacker"))  # what a restart policy does, after a pause
    code = compose.exit_code()
    log = compose.log()
    assert code == 3, f"{code}: {log[-3000:]}"
    assert "client-2 lost" in log or "client 2" in log, log[-3000:]
    assert "INVALID" in log, log[-3000:]


CHECKS: list[tuple[str, str, Callable[[Compose], None]]] = [
    ("plain", "--quick", to_its_table),
    ("tls", "--quick --set 'defense=[\"none\"]'", with_parties_killed),
]


def say(text: str) -> None:
    """Tell whoever runs the checks."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(wanted: Sequence[str]) -> int:
    """Run the checks of these profiles; says what each took."""
    try:
        with engine(KEPT) as found, tempfile.TemporaryDirectory() as empty:
            image = build(found)
            packages = sysconfig.get_path("purelib")
            environment = {**found, "SPLITFED_IMAGE": image, "SPLITFED_PACKAGES": packages, "SPLITFED_PORT": "18080"}
            environment.setdefault("SPLITFED_DATA", empty)
            for profile, arguments, check in (check for check in CHECKS if check[0] in wanted):
                compose = Compose(environment, profile, arguments)
                began = time.monotonic()
                try:
                    check(compose)
                finally:
                    compose.down()
                took_s = time.monotonic() - began
                say(f"docker compose, profile {profile}: {check.__name__} in {took_s:.0f} s")
    except NoEngine as reason:
        line = "!" * 100
        say(f"{line}\nNO CONTAINERS WERE CHECKED: {reason}\n{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [profile for profile, *_ in CHECKS]))
