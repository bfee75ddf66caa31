"""A Docker engine for the tests of docker-compose.yml: the one that runs, or one of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

START_S = 60.0
BASE = "splitfed-base:bookworm"
PUBLIC_BASE = "python:3.11-slim"
NEEDED = ("dockerd", "debootstrap")
COMPOSE = "cli-plugins/docker-compose"


class NoEngine(Exception):
    """None runs, and none can be started here."""


@contextmanager
def engine(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which ``docker compose`` works.

    Args:
        folder: for an engine of its own; kept, so that a second check is quicker.

    Raises:
        NoEngine: with the reason.
    """
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    if _answers(environment):
        yield environment
        return
    if os.geteuid() != 0 or sys.platform != "linux":
        raise NoEngine("no Docker engine answers, and only root on Linux can start one")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        raise NoEngine(f"no Docker engine answers, and {' and '.join(missing)} are not installed")
    environment["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    process = _started(folder)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(environment):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"the engine did not start; see {folder / 'dockerd.log'}")
            time.sleep(0.5)
        yield environment
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)


def _started(folder: Path) -> subprocess.Popen[bytes]:
    """An engine that needs no rights on the host's firewall: user-defined networks work without."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {"host": f"unix://{folder}/docker.sock", "data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    options = [f"--{name}={folder / place if '/' not in place else place}" for name, place in places.items()]
    options += ["--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false"]
    with (folder / "dockerd.log").open("wb") as log:
        return subprocess.Popen(["dockerd", *options], stdout=log, stderr=log, start_new_session=True)


def _answers(environment: dict[str, str]) -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], env=environment, capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


def has_image(environment: dict[str, str], name: str) -> bool:
    """Whether the engine has this image."""
    found = subprocess.run(["docker", "image", "inspect", name], env=environment, capture_output=True, check=False)
    return found.returncode == 0


def base_image(environment: dict[str, str], folder: Path) -> str:
    """A base with Python: the public one where it can be pulled, else Debian's own, built from its packages."""
    if has_image(environment, BASE):
        return BASE
    pulled = subprocess.run(
        ["docker", "pull", "--quiet", PUBLIC_BASE], env=environment, capture_output=True, timeout=120, check=False
    )
    if pulled.returncode == 0:
        return PUBLIC_BASE
    root = folder / "base"
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)]
    subprocess.run([*command, _mirror()], check=True, stdout=subprocess.DEVNULL)
    _trust_what_the_host_trusts(root)
    archive = subprocess.Popen(["tar", "-C", str(root), "-cf", "-", "."], stdout=subprocess.PIPE)
    subprocess.run(
        ["docker", "import", "-", BASE], env=environment, stdin=archive.stdout, check=True, stdout=subprocess.DEVNULL
    )
    shutil.rmtree(root)
    return BASE


def _mirror() -> str:
    """Where this machine has its own Debian packages from.

    Raises:
        NoEngine: nowhere, it is none.
    """
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" bookworm")]
    if not found:
        raise NoEngine("no base image: none can be pulled, and this is no Debian to make one from")
    return found[0]


def _trust_what_the_host_trusts(root: Path) -> None:
    """A host behind a proxy of its own has that one's certificate among its own."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        shutil.copyfile(bundle, root / "etc/ssl/certs/ca-certificates.crt")
        (root / "etc/pip.conf").write_text(f"[global]\ncert = {bundle}\n")
