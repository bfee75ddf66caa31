"""The attacker's settings: each mistake is named by file, key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from splitfed.attacker.config import load_config
from splitfed.attacker.work import Attacker
from splitfed.errors import ScenarioError
from splitfed.wire.observations import ObservationWriter
from splitfed.wire.tap import Tap
from tests.attacker.quick import config, prepare

SHIPPED = Path(__file__).parents[2] / "attacker" / "attacker.toml"


def load(folder: Path, **changes: Any) -> None:
    file = folder / "attacker.json"
    file.write_text(config(folder).model_copy(update=changes).model_dump_json(), encoding="utf-8")
    load_config(file)


def test_the_shipped_file_is_valid() -> None:
    assert load_config(SHIPPED).upstream == "127.0.0.1:9091"


def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    load(tmp_path, upstream="[::1]:9091", listen="[::]:0")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"upstream": "::1:9091"}, "upstream = '::1:9091': .*IPv6 host in brackets"),
        ({"listen": "127.0.0.1"}, "listen = '127.0.0.1': .*want host:port"),
        ({"upstream": "127.0.0.1:0"}, "upstream 127.0.0.1:0 has port 0"),
        ({"upstream": "127.0.0.1:9", "listen": "127.0.0.1:9"}, "lead back to itself"),
        ({"shape": (1, 0, 8)}, "shape.1 = 0"),
        ({"threads": 0}, "threads = 0"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=says) as error:
        load(tmp_path, **changes)
    assert str(error.value).startswith("attacker.json: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"defense": {"name": "laplce"}}, "unknown defense 'laplce'; did you mean 'laplace'"),
        ({"attacks": [{"name": "rigde"}]}, "unknown attack 'rigde'; did you mean 'ridge'"),
        ({"defense": {"name": "laplace", "options": {"scael": 1}}}, "defense 'laplace': unknown key scael"),
        ({"attacks": [{"name": "decoder", "options": {"width": 0}}]}, "attack 'decoder': width = 0"),
    ],
)
def test_attacks_and_defense_must_exist_with_their_options(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    table = prepare(tmp_path).model_dump() | changes
    settings = type(config(tmp_path)).model_validate(table)
    said: list[object] = []
    with pytest.raises(ScenarioError, match=says):
        Attacker(settings, Tap(ObservationWriter(settings.observations)), said.append)
