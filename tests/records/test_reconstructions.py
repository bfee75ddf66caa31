"""A file of the attacker's that is not what it should be is refused, whatever it is."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitfed.errors import AttackError
from splitfed.records.reconstructions import check_name, read_reconstruction
from splitfed.types import ImageShape

SHAPE = ImageShape(1, 2, 2)
INDEX = np.array([[1, 0, 0, 0], [1, 0, 0, 1]])
IMAGES = np.full((2, 1, 2, 2), 0.5, np.float32)


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """The folder of a cell with the attacker's in it, and a file outside."""
    (tmp_path / "cell" / "attack").mkdir(parents=True)
    write(tmp_path / "cell" / "attack" / "sound.npz")
    write(tmp_path / "cell" / "outside.npz")
    return tmp_path / "cell"


def write(path: Path, **arrays: Any) -> None:
    np.savez(path, **{"index": INDEX, "images": IMAGES, **arrays})


def test_what_is_sound_is_read(cell: Path) -> None:
    made = read_reconstruction(cell, "sound.npz", SHAPE)
    assert np.array_equal(made.index, INDEX)
    assert np.array_equal(made.images.numpy(), IMAGES)


@pytest.mark.parametrize("name", ["../outside.npz", "..", ".", "", "a/b.npz", "/etc/passwd", "sound.npz\0", "\0"])
def test_a_name_that_leads_elsewhere_is_refused(cell: Path, name: str) -> None:
    with pytest.raises(AttackError, match="expected the name of one in its own folder"):
        read_reconstruction(cell, name, SHAPE)


def test_links_pipes_and_folders_are_refused_without_a_wait(cell: Path) -> None:
    (cell / "attack" / "link.npz").symlink_to(cell / "outside.npz")
    os.mkfifo(cell / "attack" / "pipe.npz")
    (cell / "attack" / "folder.npz").mkdir()
    for name, why in (
        ("link.npz", "it is a link"),
        ("pipe.npz", "it is no file"),
        ("folder.npz", "it is no file"),
        ("gone.npz", "No such file"),
        ("a" * 300, "File name too long"),
    ):
        with pytest.raises(AttackError, match=f"cannot be read: {why}"):
            read_reconstruction(cell, name, SHAPE)


def test_a_folder_that_became_a_link_is_refused(cell: Path) -> None:
    (cell / "attack").rename(cell / "elsewhere")
    (cell / "attack").symlink_to(cell / "elsewhere")
    with pytest.raises(AttackError, match="is a link; expected the attacker's own folder"):
        read_reconstruction(cell, "sound.npz", SHAPE)


def test_a_run_behind_a_link_of_the_users_is_read(cell: Path) -> None:
    (cell.parent / "link").symlink_to(cell)
    assert len(read_reconstruction(cell.parent / "link", "sound.npz", SHAPE)) == 2


def compressed() -> bytes:
    content = BytesIO()
    np.savez_compressed(content, index=INDEX, images=IMAGES)
    return content.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\x03\x04" + bytes(100), compressed(), b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16]
)
def test_bytes_that_are_no_arrays_are_refused(cell: Path, content: bytes) -> None:
    (cell / "attack" / "odd.npz").write_bytes(content)
    with pytest.raises(AttackError, match=r"'odd\.npz' holds no reconstructions: ."):
        read_reconstruction(cell, "odd.npz", SHAPE)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"index": INDEX[:1]}, r"expected an index \(2, 4\) of int64, found \(1, 4\)"),
        ({"index": INDEX[:, :3]}, r"found \(2, 3\) of int64"),
        ({"index": INDEX.astype(float)}, "found .* of float64"),
        ({"index": INDEX[[0, 0]]}, "a row of its index is there twice"),
        ({"images": IMAGES[..., :1]}, r"expected images \(N, 1, 2, 2\) of float32, found \(2, 1, 2, 1\)"),
        ({"images": IMAGES.astype(np.float64)}, "found .* of float64"),
        ({"images": np.array([{}, {}])}, "holds no reconstructions: Object arrays cannot be loaded"),
        ({"images": np.float32(1)}, r"expected images \(N, 1, 2, 2\) of float32, found \(\) of float32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(cell: Path, arrays: dict[str, Any], why: str) -> None:
    write(cell / "attack" / "odd.npz", **arrays)
    with pytest.raises(AttackError, match=why):
        read_reconstruction(cell, "odd.npz", SHAPE)


def test_a_name_for_an_attack_is_short_and_printable() -> None:
    check_name("ridge (λ = 0.5)")
    for name in ("", "a" * 201, "\x1b[2J", "a\nb", "a\0"):
        with pytest.raises(AttackError, match="1 to 200 printable characters"):
            check_name(name)
