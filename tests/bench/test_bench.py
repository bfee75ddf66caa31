"""Each bench prints one JSON line per case with figures that can be, explains itself, and refuses nonsense."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from splitfed.bench import scale, scl, scl_epoch, scl_memory, startup, wire
from splitfed.bench import scenario as whole
from splitfed.cli import exit_codes
from splitfed.cli.bench import BENCHMARKS
from splitfed.cli.main import main
from splitfed.data import Unavailable
from splitfed.errors import Refused
from splitfed.models.sparse import SparseCodingLayer
from splitfed.wire.codec import CODECS
from tests.small_scenario import small


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """What was printed, by case."""
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({line["case"] + str(line.get("l1_weight")) for line in found}) == len(found)
    return {line["case"]: line for line in found}


def check_figures(line: dict[str, Any]) -> None:
    """Every number is finite, and no time or size is below 0; times are rounded."""
    for name, value in line.items():
        if isinstance(value, int | float):
            assert math.isfinite(value), name
        if name.endswith(("_s", "_ms", "_us", "_mib", "bytes_per_image")) and isinstance(value, int | float):
            assert value >= 0, name


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few images, and a reference that is soon done."""
    for name, value in {
        "BATCH": 4,
        "IMAGES": 40,
        "REFERENCE_ITERATIONS": 5,
        "LEARNING_STEPS": 1,
        "MATMUL_EDGE": 64,
    }.items():
        monkeypatch.setattr(scl, name, value)
    monkeypatch.setattr(scl, "MATMUL_EDGE", 64)
    for name, value in {"BATCH": 4, "LEARNING_STEPS": 1, "EPOCHS": 1}.items():
        monkeypatch.setattr(scl_epoch, name, value)


@pytest.mark.usefixtures("tiny")
def test_scl_prints_a_line_per_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scl", "--quick", "--repeats", "1", "--threads", "1", "--data", "digits"]) == exit_codes.OK
    found = lines(capsys)
    assert found["data"] == {"case": "data", "name": "digits", "synthetic": False, "images": 40}
    assert found["machine"]["threads"] == 1
    for atoms in ("random", "learned"):
        line = found[f"forward: first layer, {atoms} atoms"]
        check_figures(line)
        assert line["objective"] <= line["reference_objective"]
        assert line["times_faster"] == pytest.approx(line["reference_s"] / line["ours_s"], rel=0.5, abs=0.3)
        assert line["solver"] in scl.OURS
        assert 0 < line["density"] < 1


@pytest.mark.usefixtures("tiny")
def test_scl_times_epochs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scl", "--epoch", "--threads", "1", "--data", "digits"]) == exit_codes.OK
    line = lines(capsys)["epoch of sca, 40 images"]
    check_figures(line)
    assert len(line["epoch_s"]) == len(line["loss"]) == scl_epoch.EPOCHS
    assert all(0 < density < 1 for density in line["densities"])


def unreachable(*_: object) -> Path:
    raise Unavailable("no network")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_scl_draws_images_where_there_are_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SPLITFED_DATA", raising=False)
    monkeypatch.setenv("SPLITFED_CACHE", str(tmp_path))
    monkeypatch.setattr("splitfed.data.class_folders.download", unreachable)
    assert len(scl._images("medical_mnist", None)) == 40
    written = capsys.readouterr()
    assert "SYNTHETIC IMAGES: phantoms stands in for medical_mnist" in written.err
    assert json.loads(written.out) == {"case": "data", "name": "phantoms", "synthetic": True, "images": 40}


@pytest.mark.slow
def test_memory_grows_with_the_references_iterations_and_is_above_nothing() -> None:
    layer = SparseCodingLayer(1, 16, generator=torch.Generator().manual_seed(0))
    x = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    few, many = (scl_memory.unrolled_mib(layer, x, iterations) for iterations in (2, 20))
    assert 0 < few < many


@pytest.mark.slow
def test_wire_prints_a_line_per_codec_and_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "WARM_UP_STEPS", 1)
    threads = torch.get_num_threads()
    assert main(["bench", "wire", "--steps", "10"]) == exit_codes.OK
    assert torch.get_num_threads() == threads
    found = lines(capsys)
    assert {f"codec {name}" for name in CODECS} < set(found)
    assert found["codec float32"]["bytes_per_image"] == 4 * wire.WIDTH
    assert found["codec int8"]["bytes_per_image"] < found["codec float16"]["bytes_per_image"]
    for way in ("no wire", "grpc", "grpc, relay", "grpc, tapped relay"):
        assert found[f"step, {way}"]["steps"] == 10
    assert found["step, no wire"]["ratio"] == 1.0
    assert [case for case, line in found.items() if line.get("target_ratio")] == ["step, grpc"]
    for line in found.values():
        check_figures(line)


@pytest.mark.slow
def test_a_scenario_is_timed_with_all_its_processes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scenario = small(tmp_path, rounds=1, margin_db=0.0)
    assert main(["bench", "scenario", scenario]) == exit_codes.OK
    line = lines(capsys)[scenario]
    check_figures(line)
    assert line["exit_code"] == exit_codes.OK
    assert line["peak_memory_mib"] > 200, "an interpreter with torch alone takes more"


def test_a_scenario_that_there_is_not_ends_as_the_scenario_itself_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scenario", "medmnist_splt"]) == exit_codes.USER_MISTAKE
    assert lines(capsys)["medmnist_splt"]["exit_code"] == exit_codes.USER_MISTAKE


def test_scale_tells_the_servers_cost_per_client(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "WARM_UP_ROUNDS", 1)
    command = ["bench", "scale", "--clients", "2", "3", "--rounds", "1", "--steps", "2", "--codecs"]
    assert main(command) == exit_codes.OK
    found = lines(capsys)
    assert set(found) == {"2 clients", "3 clients"}
    for line in found.values():
        check_figures(line)
        assert line["step_p50_ms"] <= line["step_p99_ms"]
        assert line["rounds_per_minute"] > 0
        assert line["server_cpu_s_per_client_and_round"] > 0
    assert found["2 clients"]["server_cpu_relative"] == found["2 clients"]["server_memory_relative"] == 1


def test_scale_ends_where_a_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SECRET", "another")
    with pytest.raises(Refused, match="BAD_TOKEN"):
        scale.measured(2, rounds=1, steps=2)


@pytest.mark.slow
def test_scale_runs_a_scenario_per_codec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scale", "--clients", "--codecs", "float32", "int8"]) == exit_codes.OK
    found = lines(capsys)
    full, quarter = found["codec float32"], found["codec int8"]
    for line in (full, quarter):
        check_figures(line)
        assert line["valid"]
        assert 0 < line["strongest_ssim"] <= 1
    assert quarter["activation_bytes_per_image"] < full["activation_bytes_per_image"] / 3
    assert quarter["wire_bytes_per_image"] < full["wire_bytes_per_image"]


def test_startup_times_the_interpreter_alone_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "startup", "--repeats", "1"]) == exit_codes.OK
    found = lines(capsys)
    assert set(found) == set(startup.CASES)
    for line in found.values():
        check_figures(line)


def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        seen = psutil.Process(process.pid)
    assert whole._resident_bytes(seen) == 0
    assert whole._descendants(seen) == []


@pytest.mark.parametrize("what", BENCHMARKS)
def test_each_explains_itself(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", what, "--help"])
    assert end.value.code == 0
    assert f"usage: splitfed bench {what}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "invalid choice: 'nothing'"),
        (["scl", "--repeats", "0"], "at least 1, found '0'"),
        (["scl", "--threads", "two"], "at least 1, found 'two'"),
        (["scl", "--solver", "cg"], "invalid choice: 'cg'"),
        (["startup", "--repeats", "0"], "at least 1, found '0'"),
        (["faults", "--faults", "0"], "at least 1, found '0'"),
        (["fuzz", "--inputs", "0"], "at least 1, found '0'"),
        (["fuzz", "--first", "-1"], "expected 0 or more, found '-1'"),
        (["fuzz", "--case", "nothing"], "invalid choice: 'nothing'"),
        (["scale", "--clients", "2", "0"], "at least 1, found '0'"),
        (["scale", "--codecs", "int9"], "invalid choice: 'int9'"),
        (["wire", "--steps", "-5"], "at least 1, found '-5'"),
        (["wire", "--speed", "5"], "unrecognized arguments: --speed"),
        (["scenario", "--slow"], "unrecognized arguments: --slow"),
    ],
)
def test_what_makes_no_sense_ends_with_2(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments])
    assert end.value.code == exit_codes.USER_MISTAKE
    assert says in capsys.readouterr().err


def test_an_unknown_data_set_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scl", "--data", "mnits"]) == exit_codes.USER_MISTAKE
    assert "did you mean 'mnist'" in capsys.readouterr().err
