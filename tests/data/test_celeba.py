"""CelebA in every form that users have it: the crop, the tasks, what is left out, and what is said without it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitfed.data import Dataset, Unavailable, fetch, load
from splitfed.data.celeba import CROPS, HAIR
from splitfed.errors import DataError

from .conftest import write_archive, write_folder

NAMES = ("Bald", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Male", "Smiling", "Young")
IMAGES = 12


def flags() -> np.ndarray:
    """Images 1 to 10 have one hair color each, 11 has two, 12 has none; odd ones smile."""
    table = np.zeros((IMAGES, len(NAMES)), bool)
    for number in range(1, 11):
        table[number - 1, NAMES.index(HAIR[number % 5])] = True
    table[10, [NAMES.index("Bald"), NAMES.index("Gray_Hair")]] = True
    table[::2, NAMES.index("Smiling")] = True
    return table


def face(number: int, size: tuple[int, int]) -> bytes:
    """Red where the usual crop cuts away, gray of a shade of its own inside."""
    width, height = size
    edge = CROPS[size]
    image = Image.new("RGB", size, (255, 0, 0))
    left, top = (width - edge) // 2, (height - edge) // 2
    image.paste((10 * number,) * 3, (left, top, left + edge, top + edge))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def images(size: tuple[int, int] = (178, 218)) -> dict[str, bytes]:
    return {f"{number:06d}.jpg": face(number, size) for number in range(1, IMAGES + 1)}


def official_text() -> bytes:
    rows = [f"{n + 1:06d}.jpg " + " ".join(" 1" if on else "-1" for on in row) for n, row in enumerate(flags())]
    return "\n".join([str(IMAGES), " ".join(NAMES) + " ", *rows, ""]).encode()


def kaggle_csv() -> bytes:
    rows = [f"{n + 1:06d}.jpg," + ",".join("1" if on else "-1" for on in row) for n, row in enumerate(flags())]
    return "\n".join(["image_id," + ",".join(NAMES), *rows, ""]).encode()


def write_official(root: Path) -> Path:
    write_folder(root / "celeba" / "img_align_celeba", images())
    (root / "celeba" / "list_attr_celeba.txt").write_bytes(official_text())
    return root


def write_site(root: Path) -> Path:
    """As the archives of the data set's own site unpack."""
    write_archive(root / "CelebA" / "Img" / "img_align_celeba.zip", images(), prefix="img_align_celeba/")
    write_folder(root / "CelebA" / "Anno", {"list_attr_celeba.txt": official_text()})
    return root


def write_kaggle(root: Path) -> Path:
    write_folder(root / "img_align_celeba" / "img_align_celeba", images())
    (root / "list_attr_celeba.csv").write_bytes(kaggle_csv())
    return root


def write_half_size(root: Path) -> Path:
    write_archive(root / "celeba_10k" / "celeba_000001-000012_89x109.tar.xz", images((89, 109)), prefix="celebA/")
    labels = root / "celeba_10k" / "celeba_labels_12.npz"
    np.savez(labels, attr_packed=np.packbits(flags(), axis=1), attr_names=np.array(NAMES))
    return root


FORMS = [write_official, write_site, write_kaggle, write_half_size]


@pytest.mark.parametrize("write", FORMS)
def test_every_form_gives_the_same_task_and_the_center_of_the_faces(tmp_path: Path, write: object) -> None:
    assert callable(write)
    data = load("celeba", data_root=write(tmp_path))
    assert data.shape == (3, 32, 32)
    assert data.classes == HAIR
    assert data.labels.tolist() == [number % 5 for number in range(1, 11)]
    assert data.pixels[:, 0, 0, 0].tolist() == [10 * number for number in range(1, 11)]
    assert (data.pixels == data.pixels[:, :1, :1, :1]).all()  # nothing of the red border
    assert load("celeba", path=tmp_path, image_size=64).shape == (3, 64, 64)


def test_the_caveat_counts_what_was_left_out(tmp_path: Path) -> None:
    hair, smiling = (load("celeba", data_root=write_official(tmp_path), attribute=a) for a in (None, "Smiling"))
    assert "none or several" in hair.caveat
    assert "10 of 12 images (Black_Hair 2, " in hair.caveat
    assert "Smiling: 12 of 12 images (not Smiling 6, Smiling 6)" in smiling.caveat
    assert smiling.classes == ("not Smiling", "Smiling")
    assert smiling.labels.tolist() == [1, 0] * 6


def test_an_unknown_attribute_names_its_neighbor(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown attribute 'Smilling'; did you mean 'Smiling'\?"):
        load("celeba", data_root=write_official(tmp_path), attribute="Smilling")
    with pytest.raises(DataError, match="digits: its classes are fixed, found attribute 'Smiling'"):
        load("digits", attribute="Smiling")


def test_an_attribute_that_no_image_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none of Male among 12 images"):
        load("celeba", data_root=write_official(tmp_path), attribute="Male")


def test_without_the_images_the_terms_and_the_layout_are_told(tmp_path: Path) -> None:
    for ask in (lambda: load("celeba", data_root=tmp_path), lambda: fetch("celeba")):
        with pytest.raises(Unavailable, match=r"img_align_celeba\.zip.*non-commercial.*mmlab.*celeba/"):
            ask()


def test_images_without_attributes_and_bad_files_are_named(tmp_path: Path) -> None:
    root = write_official(tmp_path)
    listed = root / "celeba" / "list_attr_celeba.txt"
    text = listed.read_text()
    listed.write_text(text.replace("-1", "0", 1))
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt: expected the attributes"):
        load("celeba", data_root=root)
    listed.unlink()
    with pytest.raises(DataError, match=r"no list_attr_celeba\.txt"):
        load("celeba", data_root=root)
    listed.write_text(text)
    wrong = root / "celeba" / "img_align_celeba" / "000003.jpg"
    Image.new("RGB", (100, 100)).save(wrong)
    with pytest.raises(DataError, match=r"000003\.jpg: expected 218×178 or 109×89 pixels, found 100×100"):
        load("celeba", data_root=root)


def test_fetch_says_where_the_images_lie(tmp_path: Path) -> None:
    root = write_official(tmp_path)
    assert fetch("celeba", root) == root / "celeba" / "img_align_celeba"


@pytest.fixture
def read(tmp_path: Path) -> Dataset:
    return load("celeba", data_root=write_official(tmp_path))


def test_pixels_are_mapped_and_read_only(read: Dataset) -> None:
    assert isinstance(read.pixels, np.memmap)
    assert not read.pixels.flags.writeable
