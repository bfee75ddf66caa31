"""The services of docker-compose.yml as containers of a Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.deploy.checks import CHECKS
from tests.deploy.deployment import ROOT, SAID, Deployment
from tests.deploy.engine import base_image, engine

FILES = ["-f", "docker-compose.yml", "-f", "tests/deploy/compose.mounted.yml"]
KEPT = Path(os.environ.get("SPLITFED_ENGINE", "/var/tmp/splitfed-engine"))
UP_S = 300
PROJECT = "splitfed-check"
PACKAGES = "/opt/packages"


class Compose(Deployment):
    """One project of `docker compose`."""

    def __init__(self, environment: dict[str, str], profile: str, arguments: str) -> None:
        super().__init__(profile)
        self._environment = {**environment, "SPLITFED_ARGS": arguments, "COMPOSE_PROFILES": profile}

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of `docker compose`, once it has ended."""
        command = ["docker", "compose", "--project-name", PROJECT, *FILES, *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=UP_S, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"docker compose {' '.join(words)}: {done.returncode}\n{done.stderr[-SAID:]}")
        return done

    def docker(self, *words: str) -> str:
        """What a command of the engine says."""
        done = subprocess.run(["docker", *words], env=self._environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """The container of a service."""
        return f"{PROJECT}-{self.name(service)}-1"

    def inspect(self, service: str, form: str) -> str:
        """What the engine says of a container."""
        return self.docker("inspect", "--format", form, self.container(service))

    def up(self) -> None:
        self("up", "--no-build", "--detach")

    def down(self) -> None:
        self("down", "--volumes", "--timeout", "12", check=False)

    def log(self, service: str = "runner") -> str:
        return self("logs", "--no-log-prefix", self.name(service), check=False).stdout

    def running(self, service: str) -> bool:
        return self.inspect(service, "{{.State.Running}}") == "true"

    def exit_code_of(self, service: str) -> int:
        return int(self.inspect(service, "{{.State.ExitCode}}"))

    def ask(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self("exec", "-T", self.name(service), *words, check=False)

    def addresses(self, service: str) -> list[str]:
        networks = json.loads(self.inspect(service, "{{json .NetworkSettings.Networks}}"))
        return [network["IPAddress"] for network in networks.values()]

    def mounted(self, service: str) -> set[str]:
        mounts = json.loads(self.inspect(service, "{{json .Mounts}}"))
        return {mount["Destination"] for mount in mounts} - {PACKAGES}

    def kill(self, service: str) -> None:
        self.docker("update", "--restart", "no", self.container(service))
        self.docker("kill", self.container(service))

    def start(self, service: str) -> None:
        self.docker("start", self.container(service))


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
    packages = f"{sysconfig.get_path('purelib')}:{PACKAGES}:ro"
    for words in (
        ["rm", "--force", container],
        ["run", "--name", container, "--network=none", "--volume", packages, "--entrypoint", "python3",
         "splitfed-test", "-m", "splitfed.models.sparse.ahead"],
        ["commit", "--change", 'ENTRYPOINT ["splitfed"]', "--change", 'CMD ["--help"]', container, image],
        ["rm", container],
    ):  # fmt: skip
        subprocess.run(["docker", *words], env=environment, check=True, capture_output=True, timeout=UP_S)
    return image


def check_containers(profiles: Sequence[str], say: Callable[[str], None]) -> None:
    """Build the image, and run the checks of these profiles.

    Raises:
        NoEngine: there is none.
        AssertionError: something is not as it should be.
    """
    with engine(KEPT) as found, tempfile.TemporaryDirectory() as empty:
        image, packages = build(found), sysconfig.get_path("purelib")
        environment = {**found, "SPLITFED_IMAGE": image, "SPLITFED_PACKAGES": packages, "SPLITFED_PORT": "18080"}
        environment.setdefault("SPLITFED_DATA", empty)
        for profile in profiles:
            check = CHECKS[profile]
            say(f"docker compose, {check.run(Compose(environment, profile, check.arguments))}")
