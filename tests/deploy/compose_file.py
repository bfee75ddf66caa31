"""docker-compose.yml as far as its services use it: variables, one profile, what each service runs, holds, reaches."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<braced>\w+)(?P<operator>:[-?])?(?P<word>[^}]*)\})")
KNOWN = {
    *("image", "build", "init", "restart", "stop_grace_period", "security_opt", "cap_drop", "healthcheck", "profiles"),
    *("command", "entrypoint", "environment", "networks", "network_mode", "depends_on", "volumes", "deploy", "ports"),
}
"""Keys of a service that are understood here, or that say nothing about what it runs, holds and reaches."""
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class Misread(Exception):
    """The file asks for something that is not understood here: rather that than a check of something else."""


@dataclass(frozen=True)
class Mount:
    """What a service finds at `target`: a folder or file of this machine, or a volume by name."""

    source: str
    target: str
    read_only: bool

    @property
    def is_volume(self) -> bool:
        """Whether the source is the name of a volume."""
        return "/" not in self.source


@dataclass(frozen=True)
class Probe:
    """How a service is asked whether it is well."""

    test: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int


@dataclass(frozen=True)
class Service:
    """One service, with all variables resolved.

    Attributes:
        entrypoint: None for the image's own.
        command: None for the image's own.
        networks: name -> what it is called there beside its own name.
        depends_on: name of another service -> what it has to be: ``service_healthy`` and so on.
        grace_s: how long it may take to stop.
    """

    name: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: Mapping[str, str]
    networks: Mapping[str, tuple[str, ...]]
    mounts: tuple[Mount, ...]
    depends_on: Mapping[str, str]
    probe: Probe | None
    grace_s: float


def services(path: Path, profile: str, variables: Mapping[str, str]) -> dict[str, Service]:
    """The services that ``docker compose --profile PROFILE up`` starts.

    Args:
        variables: the environment of the command.

    Raises:
        Misread: a key that is not understood, or a variable that has to be set.
    """
    table = resolved(yaml.safe_load(path.read_text(encoding="utf-8")), variables)
    wanted = {name: each for name, each in table["services"].items() if profile in each.get("profiles", [profile])}
    return {name: _service(name, each) for name, each in wanted.items() if _replicas(each)}


def resolved(value: Any, variables: Mapping[str, str]) -> Any:
    """The same with the variables in all its strings replaced, as compose writes them: ``${NAME:-default}``."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: _replaced(found, variables), value)
    if isinstance(value, dict):
        return {key: resolved(each, variables) for key, each in value.items()}
    return [resolved(each, variables) for each in value] if isinstance(value, list) else value


def _replaced(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    name = found["plain"] or found["braced"]
    if variables.get(name):
        return variables[name]
    if found["operator"] == ":?":
        raise Misread(f"{name} is not set: {found['word']}")
    if found["word"] and not found["operator"]:
        raise Misread(f"{found[0]}: only ${{NAME:-default}} and ${{NAME:?why}} are understood")
    return found["word"] or ""


def _replicas(table: Mapping[str, Any]) -> int:
    return int(table.get("deploy", {}).get("replicas", 1))


def _service(name: str, table: Mapping[str, Any]) -> Service:
    if unknown := set(table) - KNOWN:
        raise Misread(f"service {name}: {', '.join(sorted(unknown))} is not understood")
    return Service(
        name=name,
        entrypoint=_words(table.get("entrypoint")),
        command=_words(table.get("command")),
        environment={key: str(value) for key, value in table.get("environment", {}).items()},
        networks=_networks(name, table),
        mounts=tuple(_mount(name, text) for text in table.get("volumes", [])),
        depends_on={other: each["condition"] for other, each in table.get("depends_on", {}).items()},
        probe=_probe(name, table.get("healthcheck", {"disable": True})),
        grace_s=_seconds(table.get("stop_grace_period", "10s")),
    )


def _words(value: str | list[str] | None) -> tuple[str, ...] | None:
    """A command as a list, or as a shell would split it."""
    if value is None:
        return None
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(value)


def _networks(name: str, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if (mode := table.get("network_mode", "none")) != "none" or ("network_mode" in table and "networks" in table):
        raise Misread(f"service {name}: network_mode {mode} is not understood, or stands beside networks")
    named = table.get("networks", [] if "network_mode" in table else ["default"])
    if isinstance(named, list):
        return dict.fromkeys(named, ())
    return {network: tuple((each or {}).get("aliases", ())) for network, each in named.items()}


def _mount(name: str, text: str) -> Mount:
    source, target, *options = text.split(":")
    if options not in ([], ["ro"], ["rw"]):
        raise Misread(f"service {name}: {text}: only :ro and :rw are understood")
    return Mount(source, target, options == ["ro"])


def _probe(name: str, table: Mapping[str, Any]) -> Probe | None:
    if table.get("disable"):
        return None
    kind, *test = table["test"]
    if kind != "CMD":
        raise Misread(f"service {name}: a health check of the kind {kind} is not understood")
    interval_s, timeout_s = _seconds(table.get("interval", "30s")), _seconds(table.get("timeout", "30s"))
    return Probe(tuple(test), interval_s, timeout_s, table.get("retries", 3))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|s|m)", text)
    if found is None:
        raise Misread(f"{text!r} is no duration that is understood; write 2s")
    return int(found[1]) * SECONDS[found[2]]
