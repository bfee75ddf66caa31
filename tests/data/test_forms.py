"""Medical MNIST and image folders in every form that users have them, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splitfed.data import load
from splitfed.data.class_folders import MEDICAL_CLASSES
from splitfed.errors import DataError

from .conftest import jpeg, write_archive, write_folder

ARCHIVES = ["MedNIST.tar.gz", "deep/er/medical_mnist_64x64.tar.xz", "Medical-MNIST.zip", "archive.zip", "MedNIST.tgz"]


@pytest.mark.parametrize("archive", ARCHIVES)
def test_an_archive_gives_the_same_images_as_the_folder(
    tmp_path: Path, medical_files: dict[str, bytes], archive: str
) -> None:
    write_folder(tmp_path / "a" / "MedNIST", medical_files)
    write_archive(tmp_path / "b" / archive, medical_files)
    unpacked = load("medical_mnist", data_root=tmp_path / "a")
    packed = load("medical_mnist", data_root=tmp_path / "b")
    assert unpacked.classes == MEDICAL_CLASSES
    assert unpacked.shape == (1, 28, 28)
    assert not unpacked.synthetic
    assert np.array_equal(unpacked.pixels, packed.pixels)
    assert np.array_equal(unpacked.labels, packed.labels)
    assert np.bincount(unpacked.labels).tolist() == [3] * 6


def test_class_folders_are_found_under_other_names_and_by_path(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    renamed = {place.replace("CXR", "ChestXray").replace("Hand", "hand"): data for place, data in medical_files.items()}
    folder = write_folder(tmp_path / "x" / "somewhere", renamed)
    assert len(load("medical_mnist", data_root=tmp_path)) == 18
    assert len(load("medical_mnist", path=folder)) == 18
    assert len(load("medical_mnist", path="x/somewhere", data_root=tmp_path)) == 18


def test_what_the_user_named_comes_before_the_environment(
    tmp_path: Path, medical_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "environment", medical_files)
    fewer = {place: data for place, data in medical_files.items() if "000000" in place}
    write_folder(tmp_path / "named", fewer)
    monkeypatch.setenv("SPLITFED_DATA", str(tmp_path / "environment"))
    assert len(load("medical_mnist")) == 18
    assert len(load("medical_mnist", data_root=tmp_path / "named")) == 6


def test_other_files_in_the_archive_are_passed_over(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    extra = {"README.md": b"hello", "__MACOSX/Hand/._000000.jpeg": b"junk", "masks/1.png": b"not one of the classes"}
    write_archive(tmp_path / "MedNIST.zip", {**medical_files, **extra})
    assert len(load("medical_mnist", data_root=tmp_path)) == 18


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused_and_leaves_no_cache(
    tmp_path: Path, medical_files: dict[str, bytes], suffix: str, kept: float
) -> None:
    archive = write_archive(tmp_path / f"MedNIST{suffix}", medical_files)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=r"MedNIST.*expected a whole archive.*download it again"):
        load("medical_mnist", data_root=tmp_path, fallback="phantoms")
    assert list((tmp_path / "cache" / "decoded").iterdir()) == []


def test_an_archive_cut_between_two_members_is_refused(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    """The cut that tarfile's own stream mode does not notice."""
    import gzip

    archive = write_archive(tmp_path / "MedNIST.tar.gz", medical_files)
    tar = gzip.decompress(archive.read_bytes())
    first_two = 2 * 512 + sum(-(-len(data) // 512) * 512 for data in list(medical_files.values())[-2:])
    packed = gzip.compress(tar[:first_two])
    archive.write_bytes(packed[:-8])  # without gzip's closing checksum
    with pytest.raises(DataError, match="expected a whole archive, but after"):
        load("medical_mnist", data_root=tmp_path)


def test_missing_classes_are_named(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    partial = {place: data for place, data in medical_files.items() if "CXR" not in place}
    write_folder(tmp_path / "folder", partial)
    write_archive(tmp_path / "archive" / "MedNIST.zip", partial)
    with pytest.raises(DataError, match="found no CXR"):
        load("medical_mnist", data_root=tmp_path / "folder")
    with pytest.raises(DataError, match="found none of CXR"):
        load("medical_mnist", data_root=tmp_path / "archive")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (jpeg(99, edge=32), "expected 64×64 pixels, found 32×32"),
        (jpeg(99, mode="RGB"), r"expected 8-bit gray \(mode L\), found mode RGB"),
        (jpeg(99)[:300], "found 300 bytes that do not decode"),
        (b"", "found 0 bytes that do not decode"),
    ],
)
def test_a_bad_image_is_named(tmp_path: Path, medical_files: dict[str, bytes], bad: bytes, message: str) -> None:
    write_folder(tmp_path / "MedNIST", {**medical_files, "Hand/000001.jpeg": bad})
    with pytest.raises(DataError, match=f"Hand/000001.jpeg: {message}|Hand/000001.jpeg: expected an image, {message}"):
        load("medical_mnist", data_root=tmp_path)


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    files = {f"{split}/{name}/{n}.png": jpeg(n + ord(name), edge=20, mode="RGB")
             for split in ("train", "test") for name in "ba" for n in range(2)}  # fmt: skip
    folder = write_folder(tmp_path / "mine", files)
    native, resized = load("folder", path=folder), load("folder", path=folder, image_size=12)
    assert native.classes == ("a", "b")
    assert native.shape == (3, 20, 20)
    assert resized.shape == (3, 12, 12)
    assert len(native) == len(resized) == 8


def test_a_folder_of_mixed_images(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {"a/1.png": jpeg(1), "b/2.png": jpeg(2, edge=40)})
    with pytest.raises(DataError, match=r"b/2.png: expected 64×64 pixels, found 40×40.*give a size"):
        load("folder", path=folder)
    assert load("folder", path=folder, image_size=16).shape == (1, 16, 16)
    (folder / "b" / "2.png").write_bytes(jpeg(2, mode="RGB"))
    with pytest.raises(DataError, match=r"b/2.png: expected 8-bit gray \(mode L\), found mode RGB"):
        load("folder", path=folder, image_size=16)
    (folder / "a" / "1.png").write_bytes(jpeg(2, mode="RGBA"))
    with pytest.raises(DataError, match=r"a/1.png: expected 8-bit gray or RGB, found mode RGBA"):
        load("folder", path=folder, image_size=16)


def test_a_folder_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which one"):
        load("folder")
    with pytest.raises(DataError, match="found nothing there"):
        load("folder", path=tmp_path / "no")
    with pytest.raises(DataError, match="at least two class subfolders, found 1 images in 1"):
        load("folder", path=write_folder(tmp_path / "one", {"a/1.png": jpeg(1)}))
    with pytest.raises(DataError, match="at least two class subfolders, found 0 images in 0"):
        load("folder", path=write_folder(tmp_path / "none", {"a/1.txt": b""}))
    with pytest.raises(DataError, match="expected in a subfolder named after its class"):
        load("folder", path=write_folder(tmp_path / "flat", {"1.png": jpeg(1), "a/1.png": jpeg(1)}))
    (tmp_path / "images.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"expected a folder or an archive \(.tar.gz"):
        load("folder", path=tmp_path / "images.rar")


def test_a_crop_keeps_the_center(tmp_path: Path) -> None:
    """A wide picture, black with a white center, becomes a white square."""
    import io

    from PIL import Image

    wide = Image.new("L", (40, 20))
    wide.paste(255, (10, 0, 30, 20))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    folder = write_folder(tmp_path / "wide", {"a/1.png": buffer.getvalue(), "b/1.png": buffer.getvalue()})
    assert load("folder", path=folder, image_size=10).pixels.min() == 255
