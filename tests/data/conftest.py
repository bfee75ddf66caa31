"""A cache of its own for every test, and small data sets in the forms that users have."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitfed.data import Dataset, load
from splitfed.data.class_folders import MEDICAL_CLASSES
from splitfed.data.locations import DATA_VARIABLE
from splitfed.files import CACHE_VARIABLE

IMAGES_PER_CLASS = 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Nothing outside the test's folder is read or written, but for the tests that need real data."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    if "real_data" not in request.keywords:
        monkeypatch.delenv(DATA_VARIABLE, raising=False)
    elif not os.environ.get(DATA_VARIABLE):
        pytest.skip(f"needs real images: set {DATA_VARIABLE}")


def jpeg(number: int, *, edge: int = 64, mode: str = "L") -> bytes:
    """A small picture, different for each number."""
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((edge, edge)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if mode == "RGBA" else "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture
def medical_files() -> dict[str, bytes]:
    """The six class folders with a few images each, by place."""
    return {
        f"{name}/{number:06d}.jpeg": jpeg(IMAGES_PER_CLASS * index + number)
        for index, name in enumerate(MEDICAL_CLASSES)
        for number in range(IMAGES_PER_CLASS)
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """The files below ``folder``."""
    for place, data in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data)
    return folder


def write_archive(path: Path, files: dict[str, bytes], prefix: str = "MedNIST/") -> Path:
    """The files in an archive of the kind that the name asks for, last ones first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    backwards = reversed(list(files.items()))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for place, data in backwards:
                archive.writestr(prefix + place, data)
        return path
    with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w:gz") as tar:
        for place, data in backwards:
            entry = tarfile.TarInfo(prefix + place)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture(scope="session")
def real_medical_mnist(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """All of Medical MNIST at 28×28, decoded once per session."""
    if not os.environ.get(DATA_VARIABLE):
        pytest.skip(f"needs real images: set {DATA_VARIABLE}")
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.getbasetemp()
        shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # by all workers of this session
        patch.setenv(CACHE_VARIABLE, str(shared / "real-data-cache"))
        return load("medical_mnist")
