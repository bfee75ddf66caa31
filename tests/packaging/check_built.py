"""Wheel and sdist are whole, and work in an empty environment outside the checkout.

    python -m tests.packaging.check_built

Not a test of pytest: it builds and installs, which takes some minutes, most of them PyTorch's. `make dist-check`
runs it. The wheel is installed truly, with all its dependencies; the sdist has to build the very same wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from splitfed import __version__

ROOT = Path(__file__).resolve().parents[2]
IN_WHEEL = (
    "splitfed/py.typed",
    "published.csv",
    "records/results.schema.json",
    "templates/report.html.j2",
    "templates/style.css",
    "templates/run.html.j2",
    "static/main.js",
    "static/vendor/plot.umd.min.js",
    "static/vendor/LICENSE.plot",
    "scenarios/medmnist_split.toml",
    "licenses/LICENSE",
    "entry_points.txt",
)
"""Ends of names that the wheel must hold, beside every module and scenario."""
IN_SDIST = ("README.md", "LICENSE", "pyproject.toml", "scenarios/medmnist_split.toml", "splitfed/py.typed")
NOT_IN_WHEEL = ("tests/", "docs/", ".png", ".npz", ".pt")
"""Parts of names that it must not hold: what is for those who change the library, and anything like an image."""
SMALL = (
    "data.name=digits",
    "data.image_size=8",
    "data.train=480",
    "data.aux=600",
    "data.test=240",
    "model.width=48",
    "federation.rounds=1",
    "attacker.margin_db=0.5",
    'defense=["none", "laplace"]',
    'attack=["ridge"]',
)


def main() -> None:
    """Build, compare, install, run."""
    with tempfile.TemporaryDirectory(prefix="splitfed-dist-") as name:
        folder = Path(name)
        from_sdist, sdist = build(folder / "both")
        (direct,) = build_wheel(folder / "direct")
        compare(direct, from_sdist)
        check_names(from_sdist, sdist)
        check_metadata(from_sdist)
        python = install(folder / "env", from_sdist)
        try_out(python, folder / "elsewhere")
    print("wheel and sdist are whole and work outside the checkout")


def build(out: Path) -> tuple[Path, Path]:
    """The sdist of the checkout, and the wheel that is built from it."""
    _run(sys.executable, "-m", "build", "--outdir", str(out), str(ROOT))
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def build_wheel(out: Path) -> list[Path]:
    """The wheel of the checkout itself."""
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT))
    return list(out.glob("*.whl"))


def compare(one: Path, other: Path) -> None:
    """Both wheels hold the same files, byte by byte; a wheel's own list of them has to agree then."""
    expect(contents(one) == contents(other), f"{one} and {other} differ: something is missing in the sdist")


def contents(wheel: Path) -> Mapping[str, int]:
    """Each file of a wheel with its checksum."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


def check_names(wheel: Path, sdist: Path) -> None:
    """Everything importable and every scenario is in the wheel, and nothing that does not belong there."""
    names = set(contents(wheel))
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "splitfed").rglob("*.py")}
    missing = sorted(modules - names)
    expect(not missing, f"modules are not in the wheel: {missing}")
    scenarios = {path.name for path in (ROOT / "scenarios").glob("*.toml")}
    shipped = {Path(name).name for name in names if name.endswith(".toml")}
    expect(scenarios <= shipped, f"scenarios are not in the wheel: {sorted(scenarios - shipped)}")
    for end in IN_WHEEL:
        expect(any(name.endswith(end) for name in names), f"{end} is not in the wheel")
    for part in NOT_IN_WHEEL:
        expect(not any(part in name for name in names), f"{part} is in the wheel")
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "splitfed").rglob("*.json")}
    expect(data <= names, f"schemas are not in the wheel: {sorted(data - names)}")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for name in IN_SDIST:
        expect(name in held, f"{name} is not in the sdist")


def check_metadata(wheel: Path) -> None:
    """What an index shows: the license, the version, and that the package is typed."""
    with zipfile.ZipFile(wheel) as archive:
        (file,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(file).decode()
    for line in ("Classifier: Typing :: Typed", "License-Expression: Apache-2.0", f"Version: {__version__}"):
        expect(line in metadata.splitlines(), f"{line!r} is not in the metadata")


def install(env: Path, wheel: Path) -> Path:
    """An environment of its own with this wheel and what it asks for; its interpreter."""
    _run(sys.executable, "-m", "venv", str(env))
    python = env / "bin" / "python"
    pip = (str(python), "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    _run(*pip, "check")
    return python


def try_out(python: Path, elsewhere: Path) -> None:
    """The command works in an empty folder: its help, its lists, a scenario, a report."""
    elsewhere.mkdir()
    command = str(python.with_name("splitfed"))
    place = _run(str(python), "-c", "import splitfed; print(splitfed.__file__)", cwd=elsewhere)
    expect(str(ROOT) not in place, f"imports the checkout: {place}")
    expect("scenario" in _run(command, "--help", cwd=elsewhere), "--help says nothing of scenarios")
    listed = _run(command, "scenarios", cwd=elsewhere)
    expect("medmnist_split" in listed, f"scenarios are not found: {listed}")
    settings = [word for key in SMALL for word in ("--set", key)]
    told = _run(command, "scenario", "medmnist_split", *settings, "--live", "none", cwd=elsewhere)
    expect("ridge" in told, f"no table: {told}")
    (run,) = (elsewhere / "runs").iterdir()
    expect((run / "report.html").is_file(), "no report")
    expect("| none |" in _run(command, "report", str(run), "--format", "md", cwd=elsewhere), "no report as text")


def expect(true: bool, otherwise: str) -> None:
    """End with this message unless something is true."""
    if not true:
        raise SystemExit(f"dist-check: {otherwise}")


def _run(*command: str, cwd: Path | None = None) -> str:
    """What a command prints; it ends everything where it fails."""
    print("+", " ".join(command), flush=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"dist-check: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
