"""A user's own folder: what is read, what is skipped and counted, links, patients, and bits beyond eight."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitfed.data import Selection, load, split
from splitfed.errors import DataError

from .conftest import jpeg, write_archive, write_folder


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def two_classes(per_class: int = 3) -> dict[str, bytes]:
    return {f"{name}/{n}.png": jpeg(10 * ord(name) + n, edge=16) for name in "ab" for n in range(per_class)}


def test_names_counts_and_skipped_files_are_known(tmp_path: Path) -> None:
    extra = {"a/x.jfif": jpeg(99, edge=16), "a/notes.txt": b"", "b/y.xml": b"", "readme.md": b"", "b/z.txt": b""}
    folder = write_folder(tmp_path / "mine", {**two_classes(), **extra})
    for _ in range(2):  # decoded, then from the cache
        mine = load("folder", path=folder)
        assert mine.counts == {"a": 4, "b": 3}
        assert mine.found.skipped == {".md": 1, ".txt": 2, ".xml": 1}
        assert mine.found.sizes == {"16×16": 7}
        assert mine.found.depths == {"8 bits": 7}
        assert mine.location == folder


def test_class_folders_mean_what_they_mean_to_torchvision(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    names = ["Zebra", "ant", "10", "9", "über"]
    files = {f"{name}/{n}.png": jpeg(10 * k + n, edge=16) for k, name in enumerate(names) for n in range(2)}
    folder = write_folder(tmp_path / "mine", files)
    ours, theirs = load("folder", path=folder), ImageFolder(str(folder), loader=lambda path: Image.open(path).copy())
    assert list(ours.classes) == theirs.classes
    assert ours.labels.tolist() == theirs.targets
    for pixels, (image, _) in zip(ours.pixels, theirs, strict=True):
        assert np.array_equal(pixels[0], np.asarray(image))


def test_an_archive_with_a_wrapper_gives_the_same_images_as_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", two_classes())
    read = load("folder", path=folder)
    for name in ("mine.zip", "mine.tar.gz", "mine.tar.xz"):
        packed = load("folder", path=write_archive(tmp_path / name, two_classes(), prefix="some/where/"))
        assert np.array_equal(packed.pixels, read.pixels)
        assert packed.classes == read.classes
        assert any("classes are the folders at level 3" in remark for remark in packed.found.remarks)


def test_links_are_followed_and_broken_ones_counted(tmp_path: Path) -> None:
    elsewhere = write_folder(tmp_path / "elsewhere", {"1.png": jpeg(1, edge=16), "2.png": jpeg(2, edge=16)})
    folder = write_folder(tmp_path / "mine", {"a/1.png": jpeg(3, edge=16)})
    (folder / "b").symlink_to(elsewhere)
    (folder / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a" / "self")
    os.mkfifo(folder / "a" / "pipe.png")
    mine = load("folder", path=folder)
    assert mine.counts == {"a": 1, "b": 2}
    assert mine.found.skipped == {"broken link": 2, "link to a folder that is read already": 1, "no regular file": 1}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", two_classes())
    (folder / "a").chmod(0)
    try:
        if os.access(folder / "a", os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(DataError, match=r"mine: expected a whole folder.*Permission denied"):
            load("folder", path=folder)
    finally:
        (folder / "a").chmod(0o755)


def test_a_class_of_broken_links_or_pipes_does_not_vanish(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", {**two_classes(), "notes/x.txt": b""})
    (folder / "empty").mkdir()
    assert "folders without images passed over: empty/, notes/" in load("folder", path=folder).found.remarks
    (folder / "c").mkdir()
    (folder / "c" / "1.png").symlink_to("/nowhere/1.png")
    with pytest.raises(
        DataError, match=r"found none that can be read in c/ \(1 files: \.png\).*exclude = \[\"c/\*\"\]"
    ):
        load("folder", path=folder)


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", two_classes())
    odd = os.fsdecode(b"caf\xe9")
    (folder / "a").rename(folder / odd)
    (folder / "b" / "0.png").rename(folder / "b" / f"{odd}.png")
    mine = load("folder", path=folder)
    assert mine.counts == {"b": 3, r"caf\xe9": 3}
    mine.described().encode()


def test_turned_transparent_and_deep_color_pictures(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    folder = write_folder(tmp_path / "mine", {"a/1.png": png(values), "b/1.png": png(values.T.copy())})
    exif = Image.Exif()
    exif[274] = 6  # the camera was held on its side
    Image.fromarray(values).save(folder / "b" / "turned.png", exif=exif)
    mine = load("folder", path=folder)
    assert np.array_equal(mine.pixels[mine.labels == 1][1, 0], np.rot90(values, -1))
    Image.fromarray(values).save(folder / "a" / "clear.png", transparency=3)
    with pytest.raises(DataError, match=r"a/clear\.png: expected opaque pixels"):
        load("folder", path=folder)


def test_archives_as_other_systems_write_them(tmp_path: Path) -> None:
    files = two_classes()
    windows, mac, twice = (tmp_path / f"{name}.zip" for name in ("windows", "mac", "twice"))
    with zipfile.ZipFile(windows, "w") as archive:
        for place, data in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = place.replace("/", "\\")  # ZipInfo itself would mend it
            archive.writestr(info, data)
    with zipfile.ZipFile(mac, "w") as archive:
        for place, data in files.items():
            archive.writestr("./" + place.replace("a/", "XX/"), data)
    mac.write_bytes(mac.read_bytes().replace(b"./XX/", "./é/".encode()))  # without the flag that says UTF-8
    assert len(load("folder", path=windows)) == 6
    assert load("folder", path=mac).counts == {"b": 3, "é": 3}
    with zipfile.ZipFile(twice, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            for place, data in files.items():
                archive.writestr(place, data)
    mine = load("folder", path=twice)
    assert len(mine) == 6
    assert mine.found.skipped == {"file that is stored again": 6}


def test_links_in_a_tar_are_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", two_classes())
    os.link(folder / "a" / "0.png", folder / "a" / "hard.png")
    (folder / "b" / "soft.png").symlink_to("0.png")
    with tarfile.open(tmp_path / "mine.tar.gz", "w:gz") as tar:
        tar.add(folder, "mine")
    packed = load("folder", path=tmp_path / "mine.tar.gz")
    assert (len(packed), packed.found.skipped) == (6, {"link in an archive": 2})


def test_several_bad_files_are_named_at_once(tmp_path: Path) -> None:
    bad = {f"a/bad{n}.png": b"no image" for n in range(9)}
    folder = write_folder(tmp_path / "mine", {**two_classes(), **bad})
    with pytest.raises(DataError) as caught:
        load("folder", path=folder)
    assert len(str(caught.value).splitlines()) == 5
    assert all(f"a/bad{n}.png: expected an image" in str(caught.value) for n in range(5))


def test_more_than_eight_bits_are_shown_over_their_range_or_a_window(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 3000, 256).round().astype(np.uint16).reshape(16, 16)
    folder = write_folder(tmp_path / "deep", {"a/1.png": png(ramp), "b/1.png": png(ramp[::-1].copy())})
    own = load("folder", path=folder)
    assert own.pixels[0, 0].min() == 0
    assert own.pixels[0, 0].max() == 255
    assert own.caveat == "2 images of 16 bits, from each image's own minimum to its maximum"
    windowed = load("folder", path=folder, selection=Selection(window=(2000, 1000)))
    expected = np.clip((ramp.astype(float) - 1500) / 1000, 0, 1)
    assert np.abs(windowed.pixels[0, 0] / 255 - expected).max() < 0.003
    assert windowed.caveat == "2 images of 16 bits, through the window 2000/1000"


def test_floating_point_tiff_and_its_bad_pixels(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    for name, array in (("1", values), ("2", values.T)):
        (tmp_path / "deep" / "ab"[int(name) - 1]).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "deep" / "ab"[int(name) - 1] / f"{name}.tif")
    assert load("folder", path=tmp_path / "deep").pixels[0, 0, -1, -1] == 255
    values[3, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "deep" / "a" / "1.tif")
    with pytest.raises(DataError, match=r"a/1\.tif: expected finite pixels"):
        load("folder", path=tmp_path / "deep")


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (0, 100)]
    folder = write_folder(tmp_path / "mine", two_classes())
    for suffix in ("tif", "gif"):
        path = folder / "a" / f"many.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match=rf"many\.{suffix}: expected one picture, found 2 in one file"):
            load("folder", path=folder)
        path.unlink()


def test_a_tiff_that_pillow_does_not_read(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    folder = write_folder(tmp_path / "mine", two_classes())
    values = np.arange(256, dtype=np.float64).reshape(16, 16)
    tifffile.imwrite(folder / "a" / "double.tif", values)
    mine = load("folder", path=folder)
    assert mine.found.depths == {"8 bits": 6, "64 bits, from each image's own minimum to its maximum": 1}
    tifffile.imwrite(folder / "a" / "double.tif", np.zeros((2, 5, 16, 16), np.uint16), photometric="minisblack")
    with pytest.raises(DataError, match=r"double\.tif: expected one (gray )?picture"):
        load("folder", path=folder)


def patients(per_patient: int = 4) -> dict[str, bytes]:
    """Ten patients; each has images of both classes."""
    return {
        f"{name}/p{patient}/{n}.png": jpeg(1000 * patient + 100 * ord(name) + n, edge=16)
        for patient in range(10)
        for name in "ab"
        for n in range(per_patient)
    }


def test_no_patient_is_on_both_sides(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", patients())
    mine = load("folder", path=folder, selection=Selection(group_level=2))
    for seed in range(5):
        parts = split(mine, train=24, aux=16, test=16, seed=seed)
        seen = [
            set(images.groups.tolist()) for images in (parts.train, parts.aux, parts.test) if images.groups is not None
        ]
        assert len(seen) == 3
        assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))
        assert [len(images) for images in (parts.train, parts.aux, parts.test)] == [24, 16, 16]
        assert np.bincount(parts.train.labels).tolist() == [12, 12]
    with pytest.raises(DataError, match=r"(train|aux|test) = \d+ images, but only .* patient or other group"):
        split(mine, train=60, aux=12, test=8, seed=0)


def test_folders_that_may_be_patients_are_named_until_the_user_says(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", patients(1))
    assert "20 folders below the classes are not taken as patients" in load("folder", path=folder).caveat
    assert load("folder", path=folder, selection=Selection(group_level=2)).caveat == ""


def test_the_published_split_can_be_kept(tmp_path: Path) -> None:
    files = {f"{part}/{name}/{n}.png": jpeg(n + 100 * ord(name) + 1000 * len(part), edge=16)
             for part in ("train", "test") for name in "ab" for n in range(12)}  # fmt: skip
    mine = load("folder", path=write_folder(tmp_path / "mine", files))
    kept = split(mine, train=20, aux=10, test=10, seed=0, by="folders")
    of_train = {image.tobytes() for image in mine.pixels[mine.parts == 0]}
    for images, expected in ((kept.train, True), (kept.aux, False), (kept.test, False)):
        found = {(pixels * 255).round().byte().numpy().tobytes() in of_train for pixels in images.pixels}
        assert found == {expected}
    with pytest.raises(DataError, match="aux = 20 images, but"):
        split(mine, train=20, aux=20, test=20, seed=0, by="folders")
    plain = load("folder", path=write_folder(tmp_path / "plain", two_classes()))
    with pytest.raises(DataError, match=r'data\.split = "folders" needs images in folders named train and test'):
        split(plain, train=2, aux=1, test=1, seed=0, by="folders")


def test_only_ones_own_files_are_selected() -> None:
    with pytest.raises(DataError, match=r"digits: its files and classes are fixed; leave out data\.include"):
        load("digits", selection=Selection(class_level=1))


def test_the_cache_knows_other_files_of_the_same_names_sizes_and_times(tmp_path: Path) -> None:
    """Two folders whose files have the same names, sizes and times; then one whose content changes in place."""
    one, two = (np.full((16, 16), value, np.uint8) for value in (10, 20))
    for root, first in (("x", one), ("y", two)):
        folder = write_folder(tmp_path / root / "mine", {"a/1.png": png(first), "b/1.png": png(255 - first)})
        for file in folder.rglob("*.png"):
            os.utime(file, ns=(10**18, 10**18))
    assert load("folder", path=tmp_path / "x" / "mine").pixels[0, 0, 0, 0] == 10
    assert load("folder", path=tmp_path / "y" / "mine").pixels[0, 0, 0, 0] == 20
    changed = tmp_path / "x" / "mine" / "a" / "1.png"
    assert len(png(two)) == changed.stat().st_size
    changed.write_bytes(png(two))
    os.utime(changed, ns=(10**18, 10**18))
    assert load("folder", path=tmp_path / "x" / "mine").pixels[0, 0, 0, 0] == 20


def test_the_identity_changes_with_anything_that_a_split_depends_on(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", patients(1))
    plain, again = load("folder", path=folder), load("folder", path=folder)
    assert plain.identity == again.identity
    grouped = load("folder", path=folder, selection=Selection(group_level=2))
    (folder / "a" / "p0" / "more.png").write_bytes(jpeg(7, edge=16))
    grown = load("folder", path=folder)
    (folder / "a").rename(folder / "c")
    renamed = load("folder", path=folder)
    assert len({plain.identity, grouped.identity, grown.identity, renamed.identity}) == 4
