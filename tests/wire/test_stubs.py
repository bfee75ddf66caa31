"""The committed stubs are those of the wire contract."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from splitfed.types import Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS

GENERATE = Path(__file__).resolve().parents[2] / "protos" / "generate.py"


def test_stubs_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert runpy.run_path(str(GENERATE))["main"](["--check"]) == 0, capsys.readouterr().out


def test_a_stale_stub_is_noticed(tmp_path: Path) -> None:
    module = runpy.run_path(str(GENERATE))
    module["generate"](tmp_path)
    stub = tmp_path / "split_pb2.pyi"
    stub.write_text(stub.read_text().replace("next_step", "other_step"))
    assert any("other_step" in line for line in module["differences"](tmp_path, module["STUBS"]))


def test_the_contract_and_the_library_name_the_same_phases_and_codecs() -> None:
    assert {name: int(value) for name, value in pb.Phase.items() if value} == dict(Phase.__members__)
    assert {name for name, value in pb.Codec.items() if value} == {name.upper() for name in CODECS}
