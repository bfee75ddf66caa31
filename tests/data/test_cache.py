"""The cache of decoded images: its owner's alone unless opened, whole entries, and one of two who build it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from splitfed.data.cache import cached, write_entry
from splitfed.data.source import Decoded
from splitfed.errors import DataError

IMAGES = Decoded(np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, np.int64), ("only",), "drawn for a test", "")


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def build(folder: Path) -> None:
    write_entry(folder, IMAGES)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


def test_decoded_images_are_their_owners_alone(tmp_path: Path) -> None:
    cached(tmp_path, "mine", "v1", 2, build)
    assert modes(tmp_path / "decoded") == {0o700, 0o600}


def test_a_cache_that_was_opened_stays_open(tmp_path: Path) -> None:
    (tmp_path / "decoded").mkdir()
    cached(tmp_path, "mine", "v1", 2, build)
    assert modes(tmp_path / "decoded") == {0o755, 0o644}


def test_an_entry_that_another_process_has_built_meanwhile_stays(tmp_path: Path) -> None:
    def beaten(folder: Path) -> None:
        cached(tmp_path, "mine", "v1", 2, build)
        build(folder)

    assert len(cached(tmp_path, "mine", "v1", 2, beaten).pixels) == 4
    assert len(list((tmp_path / "decoded").iterdir())) == 1


def test_an_entry_that_cannot_be_built_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        build(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device; set SPLITFED_CACHE"):
        cached(tmp_path, "mine", "v1", 2, fail)
    assert list((tmp_path / "decoded").iterdir()) == []
