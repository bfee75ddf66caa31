"""`splitfed data check`: what would be read, without a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.data import Selection
from splitfed.data.inspection import inspect
from splitfed.errors import DataError

from .conftest import jpeg, write_folder
from .test_arrays import medmnist, saved


def files() -> dict[str, bytes]:
    of_classes = {f"{name}/p{n % 3}/{n}.jpg": jpeg(50 * ord(name) + n, edge=16) for name in "ab" for n in range(6)}
    return {**of_classes, "a/p0/copy.jpg": jpeg(50 * ord("a"), edge=16), "a/notes.txt": b""}


def test_everything_that_a_split_would_have_to_know(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", files())
    found = inspect(str(folder), selection=Selection(group_level=2))
    rows = dict(found.rows())
    assert rows["images"] == "13 gray, 16×16 pixels"
    assert rows["2 classes"] == "a 7, b 6"
    assert rows["patients, groups"].startswith("3, of 4 to 5 images")
    assert rows["sizes of files"] == "16×16 13"
    assert rows["skipped files"] == ".txt 1"
    assert rows["duplicates"].startswith("1 images")
    assert rows["near-duplicates"].startswith("none")
    assert "needs" not in rows


def test_near_duplicates_are_counted(tmp_path: Path) -> None:
    import io

    from PIL import Image

    again = io.BytesIO()
    Image.open(io.BytesIO(jpeg(50 * ord("a"), edge=16))).save(again, "JPEG", quality=97)
    folder = write_folder(tmp_path / "mine", {**files(), "b/p1/again.jpg": again.getvalue()})
    found = inspect(str(folder))
    assert (found.near_images, found.near_clusters, found.near_largest) == (2, 1, 2)


def test_files_of_several_sizes_are_looked_at_all_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {**files(), "b/large.jpg": jpeg(3, edge=40)})
    rows = dict(inspect(str(folder)).rows())
    assert rows["sizes of files"] == "16×16 13, 40×40 1"
    assert rows["needs"].startswith("data.image_size: ")
    assert "needs" not in dict(inspect(str(folder), image_size=16).rows())


def test_names_arrays_and_what_is_nowhere(tmp_path: Path) -> None:
    assert dict(inspect("digits").rows())["images"] == "1,797 gray, 8×8 pixels"
    assert dict(inspect(str(saved(tmp_path, **medmnist()))).rows())["published parts"] == "train 12, val 6, test 9"
    with pytest.raises(
        DataError, match=r"expected a folder or archive at digts, found nothing there.*Known data sets: "
    ):
        inspect("digts")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "mine", {**files(), "a/p0/masks/1.png": jpeg(9, edge=16)})
    assert main(["data", "check", str(folder)]) == exit_codes.USER_MISTAKE
    assert "masks/ looks like masks" in capsys.readouterr().err
    assert main(["data", "check", str(folder), "--set", 'data.exclude=["*/masks/*"]']) == exit_codes.OK
    assert "a 7, b 6" in capsys.readouterr().out
    for option, message in (
        ("data.exlude=1", "did you mean exclude"),
        ("federation.rounds=1", "expected a key of data"),
    ):
        assert main(["data", "check", str(folder), "--set", option]) == exit_codes.USER_MISTAKE
        assert message in capsys.readouterr().err
    assert main(["data", "check", "digits"]) == exit_codes.OK
