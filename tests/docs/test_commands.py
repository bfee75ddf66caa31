"""Every command in the documentation works: what takes seconds is run, the rest is parsed by the real parser.

Commands on large data run as printed but for `SMALL`: the same path on scikit-learn's digits, one cell, seconds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitfed.cli import main as cli
from splitfed.data import load
from tests.docs.blocks import PAGES, ROOT, SHELL, all_blocks, commands, inline_commands

SMALL_COMPONENTS = ('defense=["none"]', 'attack=["ridge"]')
"""Set before what the command sets itself, so that the defenses that it names are the ones that run."""
SMALL = (
    "data.train=480",
    "data.aux=600",
    "data.test=240",
    "model.width=48",
    "federation.rounds=1",
    "attacker.margin_db=0",
    "seeds=1",
)
"""Set after it, and after `--quick`. Repeats are compared in tests/experiment."""
DIGITS = ("data.name=digits", "data.image_size=8")
"""Set after it too, unless it names the reader's own images."""

NOT_RUN = {
    "make demo": "the main job: .ci/run runs it",
    "make test": "this is it",
    "make lint": ".ci/run runs it",
    "make docs": "`make lint` builds the pages",
    "make dist-check": ".ci/run runs it",
    "make compose-check": ".ci/run runs it",
    "pip install": "a download; the extras that it names are looked up",
    "source .venv/bin/activate": "a matter of the reader's shell",
    "splitfed data fetch": "a download",
    "splitfed attacker": "waits for others; docs/test_deploy_page.py runs it",
    "splitfed watch": "serves until Ctrl-C; tests/cli/test_watch.py runs it",
    "splitfed server": "waits for others; docs/test_deploy_page.py runs it",
    "splitfed client": "waits for others; docs/test_deploy_page.py runs it",
    "splitfed certs --register": "needs a SuperLink; docs/test_deploy_page.py runs it",
    "splitfed scenario --superlink": "needs a federation that runs; docs/test_deploy_page.py runs it",
    "splitfed scenario --runner": "starts processes, or needs the extra ray; tests/experiment and tests/runners run it",
    "docker compose": "needs an engine; `make compose-check` runs it",
    "splitfed report --features": "trains three classifiers, needs the extra umap; its own test does it in small",
}
"""Commands that are not run, with the reason. Ours are parsed, targets of make and extras looked up."""

COMMANDS = sorted({command for block in all_blocks(*SHELL) for command in commands(block)})


def _exception(command: tuple[str, ...]) -> str | None:
    """The entry of `NOT_RUN` that a command falls under; None where it is run."""
    line = " ".join(command)
    for entry in NOT_RUN:
        words = entry.split()
        plain, options = [w for w in words if not w.startswith("--")], [w for w in words if w.startswith("--")]
        if line.startswith(" ".join(plain)) and all(option in command for option in options):
            return entry
    return None


RUN = [command for command in COMMANDS if _exception(command) is None]
PARSED = [command for command in COMMANDS if _exception(command) is not None]


def test_there_are_commands_and_no_exception_is_idle() -> None:
    assert len(RUN) > 10
    assert not set(NOT_RUN) - {_exception(command) for command in PARSED}, "no page names these any more; drop them"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is there, for commands that report on one or go on with it."""
    out = tmp_path_factory.mktemp("finished")
    settings = _set((*SMALL_COMPONENTS, *DIGITS, *SMALL))
    assert cli.main(["scenario", "medmnist_split", *settings, "--out", str(out), "--live", "none"]) == 0
    (run,) = out.iterdir()
    return run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a home that holds the reader's images."""
    home = tmp_path / "home"
    _write_images(home / "xrays")
    (home / "data").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SPLITFED_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def _write_images(folder: Path) -> None:
    """Drawn stand-ins, as a folder of images."""
    drawn = load("phantoms", image_size=16)
    for label, name in enumerate(drawn.classes[:2]):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(drawn.pixels[drawn.labels == label][:700]):
            pixels = np.asarray(image[0])
            pixels = pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def _small(command: tuple[str, ...], finished: Path, place: Path) -> list[str]:
    """A command's arguments as they are run here."""
    words = [str(Path(word).expanduser()) if word.startswith("~") else word for word in command[1:]]
    words = [re.sub(r"=~", f"={Path.home()}", word) for word in words]
    words = [_copy(finished, place) if re.fullmatch(r"RUN|runs/[\w-]+", word) else word for word in words]
    if words[0] != "scenario" or "--resume" in words:
        return words
    if "--seeds" in words:
        words[words.index("--seeds") + 1] = "1"
    after = SMALL if any(word.startswith("data.name=") for word in words) else (*DIGITS, *SMALL)
    named = [found[1] for word in words if (found := re.match(r"defense\.([^.]+)\.", word))]
    before = (*SMALL_COMPONENTS, *(f'defense=["none", "{name}"]' for name in named))
    return [*words[:2], *_set(before), *words[2:], *_set(after), "--live", "plain"]


def _set(keys: Iterable[str]) -> list[str]:
    return [word for key in keys for word in ("--set", key)]


def _copy(finished: Path, place: Path) -> str:
    target = place / "runs" / finished.name
    if not target.exists():
        shutil.copytree(finished, target)
    return str(target)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=" ".join)
def test_it_runs(command: tuple[str, ...], finished: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command[0] == "splitfed", f"{' '.join(command)}: run it here, or say in NOT_RUN why not"
    try:
        code = cli.main(_small(command, finished, place))
    except SystemExit as end:
        code = int(end.code or 0)
    told = capsys.readouterr()
    # a run this small may fail a gate; `doctor` finds something amiss on most machines
    assert code in (0, 3), told.err
    assert told.out
    assert "Traceback" not in told.out + told.err


@pytest.mark.parametrize("command", PARSED, ids=" ".join)
def test_what_is_not_run_exists(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    match command:
        case ("splitfed", *arguments):
            assert _is_parsed(arguments), capsys.readouterr().err
        case ("make", target):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case ("pip" | ".venv/bin/pip", "install", *packages):
            project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            for extra in re.findall(r"\[([\w,]+)\]", " ".join(packages)):
                assert all(re.search(rf"^{name} = \[", project, re.MULTILINE) for name in extra.split(","))
        case ("python", file, *_) if file.endswith(".py"):
            assert (ROOT / file).is_file()


INLINE = sorted({(page.relative_to(ROOT).as_posix(), *c) for page in PAGES for c in inline_commands(page)})
PLANNED = {("splitfed", "attack"), ("splitfed", "server")}
"""Named as planned in docs/design.md."""


@pytest.mark.parametrize("named", INLINE, ids=" ".join)
def test_a_command_in_running_text_exists(named: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    page, *command = named
    if page == "docs/design.md" and tuple(command[:2]) in PLANNED:
        return
    if not _is_parsed([word for word in command[1:] if word not in ("...", "…")]):
        # running text may leave out what a command needs, never name what it does not have
        assert re.search("arguments are required|expected one argument", capsys.readouterr().err)


def _is_parsed(arguments: list[str]) -> bool:
    """Whether the real parser takes these arguments; what it has against them is on standard error."""
    try:
        cli._parser().parse_args(arguments)
    except SystemExit as end:
        return not end.code
    return True
