"""Each role's file is explained as a scenario is, and the shipped ones fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.errors import ScenarioError
from splitfed.roles.config import AttackerNodeOptions, ClientOptions, RoleOptions, ServerOptions, load_settings
from splitfed.roles.superlink import app_definition

ROOT = Path(__file__).parents[2]
SHIPPED = [
    (ServerOptions, "server/server.toml"),
    (ServerOptions, "server/compose.toml"),
    (ClientOptions, "clients/hospital.toml"),
    (ClientOptions, "clients/client-1.toml"),
    (ClientOptions, "clients/client-2.toml"),
    (ClientOptions, "clients/client-3.toml"),
    (ClientOptions, "clients/any.toml"),
    (AttackerNodeOptions, "attacker/deployed.toml"),
    (AttackerNodeOptions, "attacker/compose.toml"),
]


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=lambda value: str(value))
def test_shipped_files_fit(kind: type[RoleOptions], name: str) -> None:
    assert load_settings(kind, ROOT / name).superlink


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (ClientOptions, 'superlnk = "a:1"', "unknown key superlnk; did you mean superlink?"),
        (ClientOptions, "client = -1", "client"),
        (ClientOptions, 'superlink = "nowhere"', "want host:port"),
        (ServerOptions, 'listen = "127.0.0.1:0"', "listen has port 0"),
        (AttackerNodeOptions, "", "auxiliary is missing"),
        (AttackerNodeOptions, 'auxiliary = "a"\nlisten = "h:1"\nupstream = "h:1"', "would lead back to itself"),
        (ServerOptions, "= =", "neither valid JSON"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, kind: type[RoleOptions], text: str, message: str) -> None:
    path = tmp_path / "role.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        load_settings(kind, path)


def test_the_app_that_an_operator_finds_is_the_one_that_the_lab_orders_with() -> None:
    assert (ROOT / "server" / "pyproject.toml").read_bytes() == app_definition()
