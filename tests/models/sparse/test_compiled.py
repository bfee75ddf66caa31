"""Work on ranges of samples is done once, whatever the threads are, and its errors arrive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import splitfed
from splitfed.models.sparse import compiled


@pytest.fixture(params=["openmp", "pool"])
def two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "pool":
        monkeypatch.setattr(compiled, "openmp", lambda: None)
    elif compiled.openmp() is None:
        pytest.skip("PyTorch does not run on GNU's OpenMP here")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [0, 1, 4, 5, 64, 67])
def test_every_sample_is_worked_on_once(count: int) -> None:
    seen: list[tuple[int, int, int]] = []
    compiled.over_samples(count, lambda task, first, last: seen.append((task, first, last)))
    assert sorted(seen) == [(task, *edges) for task, edges in enumerate(compiled.task_ranges(count))]
    assert sorted(sample for _, first, last in seen for sample in range(first, last)) == list(range(count))


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_any_thread_is_raised() -> None:
    def fail(task: int, first: int, last: int) -> None:
        if task == 3:
            raise ArithmeticError(f"samples {first} to {last}")

    first, last = compiled.task_ranges(64)[3]
    with pytest.raises(ArithmeticError, match=f"samples {first} to {last}"):
        compiled.over_samples(64, fail)


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A copy of the package whose folder of compiled files cannot be written to, by root neither: it is a file."""
    package = tmp_path / "site" / "splitfed"
    shutil.copytree(Path(splitfed.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "models" / "sparse" / "__pycache__").touch()
    return package.parent


SOLVE = """
import numpy as np
from splitfed.models.sparse.descent_kernels import _relative_gap
assert 0 <= _relative_gap(np.ones(3), 0.5, 4.0, 1.0)
print(_relative_gap.stats.cache_path, sum(_relative_gap.stats.cache_hits.values()), sep="|")
"""


def compile_in(site: Path, tmp_path: Path, **environment: str) -> tuple[str, int]:
    """Where a process of its own, of that package, keeps what it compiled, and how often it found it there."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "SPLITFED_CACHE")}
    kept.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", SOLVE],
        env={**kept, "PYTHONPATH": str(site), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder, hits = done.stdout.strip().split("|")
    return folder, int(hits)


def test_machine_code_is_kept_beside_the_package_where_that_can_be_written(read_only: Path, tmp_path: Path) -> None:
    (read_only / "splitfed" / "models" / "sparse" / "__pycache__").unlink()
    folder, _ = compile_in(read_only, tmp_path, HOME="/dev/null/nobody", SPLITFED_CACHE=str(tmp_path / "own"))
    assert folder == str(read_only / "splitfed" / "models" / "sparse" / "__pycache__")
    assert not (tmp_path / "own").exists()


def test_machine_code_of_a_read_only_package_is_kept_under_the_home_as_numba_does(
    read_only: Path, tmp_path: Path
) -> None:
    folder, _ = compile_in(read_only, tmp_path, HOME=str(tmp_path / "home"), SPLITFED_CACHE=str(tmp_path / "own"))
    assert folder.startswith(str(tmp_path / "home"))


def test_machine_code_is_kept_in_our_cache_where_neither_package_nor_home_can_be_written(
    read_only: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    for hits in (0, 1):  # the second process finds what the first one compiled
        found = compile_in(read_only, tmp_path, HOME="/dev/null/nobody", SPLITFED_CACHE=str(own))
        assert found[0].startswith(str(own / "numba"))
        assert found[1] == hits
    assert list(own.rglob("*.nbi"))


def test_without_any_folder_machine_code_lives_in_memory(read_only: Path, tmp_path: Path) -> None:
    found = compile_in(read_only, tmp_path, HOME="/dev/null/nobody", SPLITFED_CACHE="/dev/null/nothing")
    assert found == ("None", 0)


def test_a_folder_that_the_user_names_to_numba_comes_first(read_only: Path, tmp_path: Path) -> None:
    folder, _ = compile_in(read_only, tmp_path, HOME="/dev/null/nobody", NUMBA_CACHE_DIR=str(tmp_path / "named"))
    assert folder.startswith(str(tmp_path / "named"))


LEARN = """
import hashlib
import torch
from splitfed.defenses import build
from splitfed.models.front import FrontSpec
from splitfed.types import ImageShape

torch.set_num_threads(1)
drawn = torch.Generator().manual_seed(0)
front = build("sca", {}).build_front(FrontSpec(ImageShape(1, 8, 8), 48, 1), drawn)
front.train()
front(torch.rand((64, 1, 8, 8), generator=drawn)).square().sum().backward()
gradients = [p.grad for p in front.parameters() if p.grad is not None]
print(len(gradients), hashlib.sha256(b"".join(g.numpy().tobytes() for g in gradients)).hexdigest())
"""


@pytest.mark.slow
def test_code_that_was_just_compiled_rounds_as_code_from_the_disk_does(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    first, second = (
        subprocess.run([sys.executable, "-c", LEARN], env=environment, capture_output=True, text=True, timeout=300)
        for _ in range(2)
    )
    assert first.stdout, first.stderr
    assert first.stdout == second.stdout
