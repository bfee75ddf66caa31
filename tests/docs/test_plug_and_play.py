"""The generator of docs/plug_and_play.md works as printed, from outside the package, and the page keeps up."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from splitfed.generators import GENERATORS, ImageGenerator
from splitfed.inversion import PlugAndPlayOptions
from splitfed.metrics import inversion_gates
from tests.docs.blocks import ROOT, blocks, script_of
from tests.docs.plugin_page import python
from tests.installed import install

PAGE = ROOT / "docs" / "plug_and_play.md"
MODULE, PROJECT, USE = (block.text for block in blocks(PAGE)[:3])


def ran(folder: Path, module: str = MODULE, use: str = USE) -> subprocess.CompletedProcess[str]:
    """The page's own use of its generator, in a process that sees what was installed."""
    ((group, points),) = tomllib.loads(PROJECT)["project"]["entry-points"].items()
    ((name, target),) = points.items()
    package, _, kind = target.partition(":")
    install(folder, package, module, {group.removeprefix("splitfed."): {name: kind}})
    return python(folder, "-c", use)


@pytest.mark.slow
def test_it_is_found_and_finds_the_classes(tmp_path: Path) -> None:
    done = ran(tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\d): random (\S+), found (\S+)$", done.stdout, re.MULTILINE)
    assert [int(label) for label, _, _ in found] == list(range(10))
    gains = [float(after) - float(before) for _, before, after in found]
    assert min(gains) > 0.05, done.stdout
    assert sum(gains) / 10 > 0.15, done.stdout


def test_it_is_twenty_lines() -> None:
    assert len([line for line in MODULE.splitlines() if line.strip()]) <= 20


@pytest.mark.slow
def test_one_of_the_victims_images_is_refused(tmp_path: Path) -> None:
    done = ran(tmp_path, use=USE.replace("averages.prepare(digits.aux,", "averages.prepare(digits.train,"))
    assert done.returncode == 1
    assert "trained on the victims' images" in done.stderr


@pytest.mark.slow
def test_what_is_wrong_in_it_is_told_with_its_name(tmp_path: Path) -> None:
    done = ran(tmp_path, MODULE.replace("latents.softmax(dim=1)", "latents"))
    assert done.returncode == 1
    assert "generator averages: synthesize() gave pixels in" in done.stderr


@pytest.mark.slow
def test_without_a_method_it_is_refused_with_the_methods_name(tmp_path: Path) -> None:
    done = ran(tmp_path, re.sub(r"    def sample.*\n.*\n", "", MODULE))
    assert done.returncode == 1
    assert "Averages lacks the methods sample; define them" in done.stderr


def test_the_page_names_every_generator_method_and_gate() -> None:
    text = PAGE.read_text(encoding="utf-8")
    methods = {name for name in vars(ImageGenerator) if not name.startswith("_")} - {"name", "about", "Options"}
    checks = {
        name for name, value in vars(inversion_gates).items()
        if callable(value) and getattr(value, "__module__", "") == inversion_gates.__name__
        and not name.startswith("_") and name.islower()
    }  # fmt: skip
    assert len(checks) == 6
    assert not {name for name in (*methods, *checks, *GENERATORS) if f"`{name}`" not in text}


@pytest.mark.slow
def test_the_script_of_the_measurements_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = script_of("measure_plug_and_play")
    prepared = script.prepared
    few = PlugAndPlayOptions(
        pool_size=150, candidates=12, kept=6, steps=5, transforms=4, label_steps=2, surrogate_epochs=2
    )

    def smaller(name: str, size: int | None, images: int, seed: int, *, quick: bool) -> object:
        """On as many digits as there are, and not for long."""
        return prepared(name, size, images // 3, seed, quick=quick)._replace(options=few)

    monkeypatch.setattr(script, "EPOCHS", 4)
    monkeypatch.setattr(script, "prepared", smaller)
    monkeypatch.setattr(sys, "argv", ["measure", "--data", "digits", "--quick"])
    script.main()
    printed = capsys.readouterr().out
    assert printed.count("\n| none |") == 4
    assert sum(f"\n| {digit} |" in printed for digit in range(10)) == 10
    assert "| untrained | query | mixture |" in printed
    assert "FAILED" not in printed.replace("GATE inversion_lifts FAILED", "")
