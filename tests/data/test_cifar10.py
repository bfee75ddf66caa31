"""CIFAR-10 in every form that users have it: the same images, a caveat on lossy ones, and no pickle that runs code."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitfed.data import DATASETS, Unavailable, load
from splitfed.data.cifar10 import ARCHIVE, BATCHES, CLASSES, FOLDER, LOSSY, Cifar10, official, published_md5, read_batch
from splitfed.errors import DataError

from .conftest import jpeg, write_archive, write_folder

PER_BATCH = 10


def batches() -> dict[str, bytes]:
    """The six files, small: bytes for keys and rows of 3,072 bytes, as the official ones have."""
    rng = np.random.default_rng(0)
    files = {}
    for name in BATCHES:
        batch = {b"data": rng.integers(0, 256, (PER_BATCH, 3072), np.uint8), b"labels": list(range(10))}
        files[name] = pickle.dumps(batch, protocol=4)
    return files


@pytest.fixture
def batches_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The six files, small, with their own checksums for the published ones."""
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in batches().items()}
    monkeypatch.setitem(DATASETS, "cifar10", Cifar10(batch_md5=lambda: md5))
    return write_folder(tmp_path / "data" / FOLDER, batches())


def test_folder_and_archive_give_the_published_images(batches_on_disk: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed" / ARCHIVE
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches_on_disk, FOLDER)
    unpacked = load("cifar10", data_root=batches_on_disk.parent)
    first = pickle.loads(batches()["data_batch_1"])[b"data"]
    assert unpacked.shape == (3, 32, 32)
    assert len(unpacked) == 6 * PER_BATCH
    assert np.array_equal(unpacked.pixels[:PER_BATCH], first.reshape(-1, 3, 32, 32))
    assert unpacked.classes == CLASSES
    assert unpacked.caveat == ""
    for packed in (load("cifar10", data_root=archive.parent), load("cifar10", path=archive)):
        assert np.array_equal(packed.pixels, unpacked.pixels)
        assert np.array_equal(packed.labels, unpacked.labels)
    assert len(load("cifar10", path=batches_on_disk.parent)) == len(unpacked)
    assert load("cifar10", data_root=batches_on_disk.parent, image_size=16).shape == (3, 16, 16)


def image_files(suffix: str) -> dict[str, bytes]:
    files = {}
    for label, name in enumerate(CLASSES):
        for part in ("train", "test"):
            data = jpeg(label, edge=32, mode="RGB")
            if suffix == "png":
                buffer = io.BytesIO()
                Image.open(io.BytesIO(data)).save(buffer, "PNG")
                data = buffer.getvalue()
            files[f"{part}/{name}/0.{suffix}"] = data
    return files


@pytest.mark.parametrize(("suffix", "caveat"), [("jpg", LOSSY), ("png", "")])
def test_image_files_are_read_and_jpeg_is_called_lossy(tmp_path: Path, suffix: str, caveat: str) -> None:
    write_archive(tmp_path / "a" / "cifar10_images.tar.xz", image_files(suffix), prefix="")
    write_folder(tmp_path / "b" / "CIFAR-10", image_files(suffix))
    for root in ("a", "b"):
        read = load("cifar10", data_root=tmp_path / root)
        assert len(read) == 20
        assert read.classes == CLASSES
        assert read.caveat == caveat
        assert load("cifar10", data_root=tmp_path / root).caveat == caveat  # from the cache


def test_the_official_batches_come_before_lossy_images(
    batches_on_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(tmp_path / "lossy" / "cifar10.tar.xz", image_files("jpg"), prefix="")
    monkeypatch.setenv("SPLITFED_DATA", str(batches_on_disk.parent))
    assert load("cifar10", data_root=tmp_path / "lossy").caveat == ""


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the pickle ran code')",)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (_Runs(), "asks for builtins.exec"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": _Runs()}, "asks for builtins.exec"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "2 images of uint8 with 1 labels"),
        ({b"data": np.zeros((1, 3072), np.float32), b"labels": [1]}, "1 images of float32"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, "labels 0 to 9"),
        ({b"data": np.zeros((1, 100), np.uint8), b"labels": [1]}, "cannot reshape"),
        ({}, "b'data'"),
    ],
)
def test_what_is_no_batch_is_refused_and_runs_nothing(batch: object, says: str) -> None:
    with pytest.raises(DataError, match=rf"x/data_batch_1: expected a batch.*{says}"):
        read_batch(pickle.dumps(batch, protocol=4), "x/data_batch_1")


def test_every_batch_has_a_published_checksum() -> None:
    assert set(published_md5()) == set(BATCHES)
    assert published_md5()["test_batch"] == "40351d587109b95175f43aff81a1287e"


def test_missing_and_truncated_batches_are_named(batches_on_disk: Path) -> None:
    (batches_on_disk / "data_batch_3").unlink()
    with pytest.raises(DataError, match="found no data_batch_3"):
        load("cifar10", data_root=batches_on_disk.parent)
    (batches_on_disk / "data_batch_3").write_bytes(batches()["data_batch_3"][:500])
    with pytest.raises(DataError, match="data_batch_3: expected a batch"):
        load("cifar10", data_root=batches_on_disk.parent)


def test_other_batches_than_the_published_ones_are_refused(batches_on_disk: Path) -> None:
    other = pickle.dumps({b"data": np.zeros((PER_BATCH, 3072), np.uint8), b"labels": list(range(10))}, protocol=4)
    (batches_on_disk / "test_batch").write_bytes(other)
    with pytest.raises(DataError, match="test_batch: expected the published batch, md5"):
        load("cifar10", data_root=batches_on_disk.parent)


def test_cifar_100_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name begins like that of CIFAR-10, and some have copied folders of ten classes into it."""
    monkeypatch.setitem(DATASETS, "cifar10", Cifar10(lambda: replace(official(), urls=("http://127.0.0.1:9/x",))))
    write_folder(tmp_path / "cifar100", image_files("png"))
    write_archive(tmp_path / "cifar-100-images.zip", image_files("png"), prefix="")
    with pytest.raises(Unavailable, match="not found"):
        load("cifar10", data_root=tmp_path)
    write_archive(tmp_path / "cifar10-images.zip", image_files("png"), prefix="")
    assert len(load("cifar10", data_root=tmp_path)) == 20


def test_a_truncated_archive_is_refused(batches_on_disk: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed" / ARCHIVE
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches_on_disk, FOLDER)
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(DataError, match="expected a whole archive"):
        load("cifar10", data_root=archive.parent)


def test_the_download_has_the_published_checksum_and_its_failure_says_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert official().md5 == "c58f30108f718f92721af3b95e74349a"
    assert official().urls == ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",)
    unreachable = replace(official(), urls=("http://127.0.0.1:9/cifar-10-python.tar.gz",))  # nothing listens there
    monkeypatch.setitem(DATASETS, "cifar10", Cifar10(lambda: unreachable))
    with pytest.raises(Unavailable, match=r"cifar-10-batches-py.*data fetch cifar10"):
        load("cifar10")
