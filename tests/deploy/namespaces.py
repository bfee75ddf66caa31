"""The services of docker-compose.yml without an engine: each in namespaces of its own, on the networks of the file.

What it has of a container: the exact command, environment, user (without rights), folders, names and networks, and the
order in which things start. What it has not: the image. Programs and packages are this machine's own, and there is no
restart policy: whoever ends has ended, and no published port.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.deploy.bridges import Bridges
from tests.deploy.checks import CHECKS
from tests.deploy.compose_file import Service, services
from tests.deploy.deployment import POLL_S, ROOT, SAID, Deployment
from tests.deploy.filesystem import PACKAGES, Filesystem, install
from tests.deploy.image import Image, image
from tests.deploy.world import RUN, command_in_world, enter

UP_S = 600.0
ASK_S = 60.0
BUILD = "image"
"""Among the parties the one that all others wait for: it runs the steps of the image."""
HERE = RUN / "splitfed"
SERVICES, INSTALLED = HERE / "services", HERE / "installed"
NEW = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
ENTER = ("nsenter", "--net", "--mount", "--pid", "--uts", "--ipc", "--root")
NO_RIGHTS = ("--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


class _Party:
    """One service, from its start to its end."""

    def __init__(self, service: Service, of: Image, project: Path) -> None:
        self.service = service
        folder, volumes, below = SERVICES / service.name, HERE / "volumes", SERVICES / BUILD / "root"
        self.files = Filesystem(service, of, folder, volumes=volumes, project=project, below=below, installed=INSTALLED)
        self.log = folder / "log"
        self.well = service.probe is None
        self._image = of
        self._asked = 0
        self._asked_at = -1e9
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, hosts: str) -> None:
        self.files.make(hosts)
        program = self.files.program(shlex.join([*self._as_user(), *self._command()]))
        command = ["ip", "netns", "exec", self.service.name, *NEW, "sh", "-c", program]
        heard, told = os.pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=told, stdout=log, stderr=log)
        os.close(told)
        try:  # before that, a command beside it would see this machine's files
            begun = bool(select.select([heard], [], [], ASK_S)[0]) and os.read(heard, 1)
        finally:
            os.close(heard)
        assert begun, f"{self.service.name} did not start:\n{self.said()}"

    @property
    def code(self) -> int | None:
        """Its exit code; None before its end, and before its start."""
        return None if self._process is None else self._process.poll()

    @property
    def runs(self) -> bool:
        return self._process is not None and self.code is None

    @property
    def pid(self) -> int:
        """That of its first process."""
        for first in self._first():
            return int(first.pid)
        raise AssertionError(f"{self.service.name} does not run; its exit code: {self.code}\n{self.said()}")

    def ask(self, words: Sequence[str], timeout_s: float = ASK_S) -> subprocess.CompletedProcess[str]:
        command = [*ENTER, "--target", str(self.pid), *self._as_user(), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def probe(self) -> None:
        """Ask whether it is well, if it is time to.

        Raises:
            AssertionError: it has ended, or was not well too often.
        """
        probe = self.service.probe
        if self._process is None or self.well or probe is None or time.monotonic() < self._asked_at + probe.interval_s:
            return
        with suppress(subprocess.TimeoutExpired):
            self.well = self.ask(probe.test, probe.timeout_s).returncode == 0
        self._asked, self._asked_at = self._asked + 1, time.monotonic()
        assert self._asked < probe.retries or self.well, f"{self.service.name} is not well:\n{self.said()}"

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(ASK_S)

    def stop(self) -> None:
        """Ask it to end; `kill` is for those that do not."""
        self._signal(signal.SIGTERM)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-SAID:] if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        for first in self._first():
            with suppress(psutil.NoSuchProcess):
                first.send_signal(number)

    def _first(self) -> list[psutil.Process]:
        """Its first process, whose end is the end of all that it has started; none where it has ended."""
        return list(psutil.Process(self._process.pid).children()) if self._process is not None and self.runs else []

    def _command(self) -> tuple[str, ...]:
        entrypoint, command = self.service.entrypoint, self.service.command
        if entrypoint is None:
            return self._image.entrypoint + (self._image.command if command is None else command)
        return entrypoint + (command or ())

    def _as_user(self) -> list[str]:
        user = f"{self._image.uid}"
        environment = {
            **self._image.environment,
            "HOME": self.files.home,
            "HOSTNAME": self.service.name,
            "PYTHONPATH": PACKAGES,
            **self.service.environment,
        }
        pairs = [f"{key}={value}" for key, value in environment.items()]
        return ["setpriv", "--reuid", user, "--regid", user, *NO_RIGHTS, "env", "-i", *pairs]


class Namespaces(Deployment):
    """The services of one profile. Only in a world of its own (`tests.deploy.world`), and once in each.

    Args:
        path: the file of the services; relative paths in it start from its folder.
        variables: those that the file asks for.
        of: the image that all services have.
    """

    def __init__(self, path: Path, profile: str, variables: Mapping[str, str], of: Image) -> None:
        super().__init__(profile)
        found = {BUILD: _build(of), **services(path, profile, variables)}
        project = path.resolve().parent
        self._bridges = Bridges(found)
        self._parties = {name: _Party(service, of, project) for name, service in found.items()}

    def up(self) -> None:
        self._bridges.make()
        install(INSTALLED)
        waiting = dict(self._parties)
        deadline = time.monotonic() + UP_S
        while waiting or not all(party.well for party in self._parties.values()):
            assert time.monotonic() < deadline, f"not up within {UP_S:.0f} s: {', '.join(waiting)}\n{self.said()}"
            for name in [name for name, party in waiting.items() if self._may_start(party.service)]:
                waiting.pop(name).start(self._bridges.hosts(name))
            for party in self._parties.values():
                party.probe()
            time.sleep(POLL_S)

    def down(self) -> None:
        parties = [party for party in self._parties.values() if party.runs]
        for party in parties:
            party.stop()
        deadline = time.monotonic() + max(party.service.grace_s for party in self._parties.values())
        while any(party.runs for party in parties) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for party in parties:
            party.kill()

    def log(self, service: str = "runner") -> str:
        return self._party(service).log.read_text(encoding="utf-8", errors="replace")

    def running(self, service: str) -> bool:
        return self._party(service).runs

    def exit_code_of(self, service: str) -> int:
        code = self._party(service).code
        assert code is not None, f"{service} runs"
        return code

    def ask(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self._party(service).ask(words)

    def addresses(self, service: str) -> list[str]:
        return self._bridges.addresses(self.name(service))

    def mounted(self, service: str) -> set[str]:
        party = self._party(service)
        mounts = Path(f"/proc/{party.pid}/mountinfo").read_text(encoding="utf-8")
        return {line.split()[4] for line in mounts.splitlines()} - party.files.own()

    def kill(self, service: str) -> None:
        self._party(service).kill()

    def start(self, service: str) -> None:
        self._party(service).start(self._bridges.hosts(self.name(service)))

    def said(self) -> str:
        """The end of what each service has said."""
        return "\n".join(f"---- {name} ----\n{party.said()}" for name, party in self._parties.items())

    def _party(self, service: str) -> _Party:
        return self._parties[self.name(service)]

    def _may_start(self, service: Service) -> bool:
        built = service.name == BUILD or self._is(self._parties[BUILD], "service_completed_successfully")
        return built and all(self._is(self._parties[name], is_so) for name, is_so in service.depends_on.items())

    def _is(self, party: _Party, condition: str) -> bool:
        if condition == "service_completed_successfully":
            assert party.code in (None, 0), f"{party.service.name} ended with {party.code}:\n{party.said()}"
            return party.code == 0
        assert condition == "service_healthy", condition
        return party.well and party.service.probe is not None


def _build(of: Image) -> Service:
    """What runs the steps of an image."""
    steps = " && ".join(["true", *(shlex.join(step) for step in of.steps)])
    return Service(
        name=BUILD, entrypoint=("sh", "-ec"), command=(steps,), environment={}, networks={}, mounts=(),
        depends_on={}, probe=None, grace_s=1.0,
    )  # fmt: skip


def check_namespaces(profiles: Sequence[str], say: Callable[[str], None]) -> None:
    """Run the checks of these profiles, each in a world of its own.

    Raises:
        NoWorld: none can be made.
        AssertionError: something is not as it should be.
    """
    for profile in profiles:
        with tempfile.TemporaryDirectory() as empty:
            environment = {"SPLITFED_DATA": empty, **os.environ}
            command = command_in_world([sys.executable, "-m", "tests.deploy.namespaces", profile])
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            assert done.returncode == 0, f"namespaces, profile {profile}: {done.returncode}\n{done.stdout}"
            say(f"network namespaces, {done.stdout.strip()}")


def main(profile: str) -> None:
    """The check of one profile, inside its world."""
    enter()
    check = CHECKS[profile]
    variables = {**os.environ, "SPLITFED_ARGS": check.arguments}
    deployment = Namespaces(ROOT / "docker-compose.yml", profile, variables, image(ROOT / "Dockerfile"))
    try:
        sys.stdout.write(f"{check.run(deployment)}\n")
    except AssertionError as reason:
        sys.stderr.write(f"{deployment.said()}\n")
        raise SystemExit(f"{check.holds.__name__}: {reason}") from reason


if __name__ == "__main__":
    main(sys.argv[1])
