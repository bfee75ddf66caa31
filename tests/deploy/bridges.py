"""A bridge for each network of docker-compose.yml, and a network namespace for each service, tied to its networks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping

from tests.deploy.compose_file import Service


class Bridges:
    """Who has which address where. Bridges have none, and nothing is routed: from one network no way leads to another.

    Args:
        services: by name, which is also that of the namespace.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self._networks = sorted({network for service in services.values() for network in service.networks})
        self._numbers = {name: number for number, name in enumerate(services, start=2)}

    def make(self) -> None:
        """Make them, in a world of its own.

        Raises:
            CalledProcessError: one cannot be made.
        """
        _ip((), self._outside())
        for service in self._services.values():
            _ip(("-n", service.name), self._inside(service))

    def addresses(self, name: str) -> list[str]:
        """One for each network of a service."""
        return [self._address(network, name) for network in self._services[name].networks]

    def hosts(self, name: str) -> str:
        """The names that a service can resolve: its own, and those of whoever shares a network with it."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for network in self._services[name].networks:
            for other in self._services.values():
                if network in other.networks:
                    lines.append(" ".join([self._address(network, other.name), other.name, *other.networks[network]]))
        return "\n".join([*lines, ""])

    def _address(self, network: str, name: str) -> str:
        return f"10.77.{self._networks.index(network)}.{self._numbers[name]}"

    def _outside(self) -> Iterator[str]:
        for index in range(len(self._networks)):
            yield f"link add name bridge{index} type bridge"
            yield f"link set bridge{index} up"
        for name, service in self._services.items():
            yield f"netns add {name}"
            for index, network in enumerate(service.networks):
                port = f"port{self._numbers[name]}.{index}"
                yield f"link add name {port} type veth peer name eth{index} netns {name}"
                yield f"link set {port} master bridge{self._networks.index(network)} up"

    def _inside(self, service: Service) -> Iterator[str]:
        yield "link set lo up"
        for index, network in enumerate(service.networks):
            yield f"address add {self._address(network, service.name)}/24 dev eth{index}"
            yield f"link set eth{index} up"


def _ip(options: Iterable[str], commands: Iterable[str]) -> None:
    lines = "\n".join([*commands, ""])
    subprocess.run(["ip", *options, "-batch", "-"], input=lines, text=True, check=True, stdout=subprocess.DEVNULL)
