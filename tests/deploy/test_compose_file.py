"""docker-compose.yml and the Dockerfile, as they are read where no engine reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.compose_file import Misread, Mount, resolved, services
from tests.deploy.deployment import ROOT
from tests.deploy.image import image

COMPOSE = ROOT / "docker-compose.yml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET:-other} ${UNSET:-other}", "value other"),
        ("${EMPTY:-other}$SET${SET}", "othervaluevalue"),
        ("${UNSET}", ""),
        ("a$$party/$${SET}", "a$party/${SET}"),
        ("${SET:?why}", "value"),
    ],
)
def test_variables_are_replaced_as_compose_does(text: str, expected: str) -> None:
    variables = {"SET": "value", "EMPTY": ""}
    assert resolved({"a": [text, 3]}, variables) == {"a": [expected, 3]}


@pytest.mark.parametrize(("text", "says"), [("${UNSET:?name it}", "UNSET is not set: name it"), ("${SET-x}", "SET-x")])
def test_what_cannot_be_replaced_is_refused(text: str, says: str) -> None:
    with pytest.raises(Misread, match=says):
        resolved(text, {})


def test_the_plain_profile_is_read_whole() -> None:
    plain = services(COMPOSE, "plain", {"SPLITFED_DATA": "/some/data", "SPLITFED_ARGS": "--quick"})
    assert set(plain) == {
        *("superlink", "server", "deal", "attacker", "client-1", "client-2", "client-3", "runner", "web")
    }
    client = plain["client-2"]
    assert client.entrypoint is None
    assert client.command == ("client", "--config", "/etc/splitfed/client.toml")
    assert client.environment == {"SPLITFED_DATA": "/data", "SPLITFED_CACHE": "/decoded"}
    assert set(client.networks) == {"fleet", "tap"}
    assert client.depends_on == {"superlink": "service_healthy", "deal": "service_completed_successfully"}
    assert Mount("/some/data", "/data", read_only=True) in client.mounts
    assert client.probe is not None
    assert (client.probe.interval_s, client.probe.timeout_s, client.probe.retries) == (2, 5, 60)
    assert client.grace_s == 12
    assert plain["deal"].networks == {}
    assert plain["deal"].probe is None
    assert plain["runner"].command is not None
    assert "medmnist_split --quick --set federation.clients=3 --runner deploy" in plain["runner"].command[0]


def test_the_tls_profile_has_its_aliases_and_its_split_command() -> None:
    tls = services(COMPOSE, "tls", {})
    assert "superlink" not in tls
    assert tls["superlink-tls"].networks == {"fleet": ("superlink.internal",), "ctl": ("superlink.internal",)}
    assert tls["superlink-tls"].command is not None
    assert tls["superlink-tls"].command[:2] == ("--host", "0.0.0.0")
    assert tls["certs"].command is not None
    assert "cp -p /authority/all/$party/* /certs/$party/" in tls["certs"].command[0]
    assert next(mount for mount in tls["deal"].mounts if mount.is_volume).source == "no-data"


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ("{privileged: true}", "service one: privileged is not understood"),
        ("{network_mode: host}", "network_mode host"),
        ("{volumes: ['a:/b:z']}", "a:/b:z: only :ro"),
        ("{healthcheck: {test: [CMD-SHELL, x]}}", "kind CMD-SHELL"),
        ("{stop_grace_period: soon}", "'soon' is no duration"),
    ],
)
def test_what_is_not_understood_is_refused(service: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(f"services: {{one: {service}}}\n", encoding="utf-8")
    with pytest.raises(Misread, match=says):
        services(file, "plain", {})


def test_the_dockerfile_says_who_runs_what_and_where() -> None:
    found = image(ROOT / "Dockerfile")
    assert (found.user, found.uid, found.workdir, found.entrypoint) == ("splitfed", 1000, "/runs", ("splitfed",))
    assert found.environment["PATH"].startswith("/opt/splitfed/bin:/usr/local/sbin:")
    assert found.environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert found.volumes == ["/state", "/runs"]
    assert found.owns("/certs/server")
    assert not found.owns("/data")
    assert "/data" in found.folders
    assert found.steps == [("python", "-m", "splitfed.models.sparse.ahead")]
