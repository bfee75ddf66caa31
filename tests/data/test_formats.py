"""DICOM as hospitals have it: windows, inverted grays, patients, and what is said of other files."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitfed.data import Selection, load, split
from splitfed.data.formats import open_picture
from splitfed.errors import DataError

pydicom = pytest.importorskip("pydicom")


def dicom(values: np.ndarray, **elements: Any) -> bytes:
    """A CT slice with these stored values, 16 bits, 12 of them used; value -1024 is stored as 0."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.RescaleSlope, file.RescaleIntercept = 1, -1024
    file.PixelData = values.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


RAMP = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(16, 16)


def shown(data: bytes, window: tuple[float, float] | None = None) -> tuple[np.ndarray, str]:
    picture = open_picture(data, "x.dcm", window)
    return np.asarray(picture.image), picture.depth


def test_without_a_window_an_image_is_shown_over_its_own_range() -> None:
    pixels, depth = shown(dicom(RAMP))
    assert depth == "DICOM 12 bits, from each image's own minimum to its maximum"
    assert np.abs(pixels - RAMP / 4095 * 255).max() <= 0.51


def test_the_files_own_window_is_in_its_units_and_the_users_comes_before_it() -> None:
    data = dicom(RAMP, WindowCenter=[40.5, 600], WindowWidth=[401, 1500])
    pixels, depth = shown(data)
    hounsfield = RAMP.astype(float) - 1024
    assert depth == "DICOM 12 bits, through each file's own window"
    assert np.abs(pixels - np.clip((hounsfield + 160) / 400, 0, 1) * 255).max() <= 0.51
    pixels, depth = shown(data, (0, 2000))
    assert depth == "DICOM 12 bits, through the window 0/2000"
    assert np.abs(pixels - np.clip((hounsfield + 1000) / 2000, 0, 1) * 255).max() <= 0.51
    exact, _ = shown(dicom(RAMP, WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))
    assert np.array_equal(exact, shown(data)[0])


def test_in_monochrome1_the_lowest_value_is_white() -> None:
    usual, inverted = shown(dicom(RAMP))[0], shown(dicom(RAMP, PhotometricInterpretation="MONOCHROME1"))[0]
    assert np.array_equal(inverted, 255 - usual)


def test_its_own_examples_are_read() -> None:
    from pydicom.data import get_testdata_file

    for name, mode in (("CT_small.dcm", "L"), ("MR_small_RLE.dcm", "L"), ("SC_rgb_rle.dcm", "RGB")):
        path = Path(str(get_testdata_file(name)))
        assert open_picture(path.read_bytes(), name).image.mode == mode


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no dicom", "expected a DICOM image, but File is missing DICOM File Meta Information"),
        (dicom(RAMP, NumberOfFrames=3, PixelData=RAMP.astype("<u2").tobytes() * 3), "expected one picture, found 3"),
        (dicom(RAMP, PhotometricInterpretation="PALETTE COLOR"), "expected gray or 8 bits per color"),
    ],
)
def test_other_files_are_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"x.dcm: {message}"):
        open_picture(data, "x.dcm")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(dicom(RAMP)[: -100 if name == "a" else None])
    with pytest.raises(DataError, match=r"a/1\.dcm: expected a DICOM image, but The number of bytes"):
        load("folder", path=tmp_path)


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith(("pydicom", "tifffile")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"x\.dcm: reading DICOM needs pydicom: pip install 'splitfed\[medical\]'"):
        open_picture(dicom_bytes, "x.dcm")
    with pytest.raises(DataError, match=r"x\.tiff: this kind of TIFF needs tifffile: pip install"):
        open_picture(b"II*\0" + bytes(60), "x.tiff")


dicom_bytes = dicom(RAMP)


def test_patients_are_kept_apart_without_being_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        patient = {"PatientID": f"P{number % 10}"} if number < 36 else {}
        folder = tmp_path / "scans" / ("CT" if number % 2 else "MR")
        folder.mkdir(exist_ok=True, parents=True)
        (folder / f"{number}.dcm").write_bytes(dicom(rng.integers(0, 4096, (16, 16)), **patient))
    mine = load("folder", path=tmp_path / "scans")
    assert "groups are the 10 patients that the DICOM files name" in mine.found.remarks
    assert mine.groups is not None
    assert len(set(mine.groups.tolist())) == 10 + 1  # those without a patient are together
    assert any("4 images name no patient" in remark for remark in mine.found.remarks)
    assert "P3" not in str(mine.found)  # who they are is in no record
    parts = split(mine, train=16, aux=10, test=8, seed=0)
    seen = [set(images.groups.tolist()) for images in (parts.train, parts.aux, parts.test) if images.groups is not None]
    assert len(set.union(*seen)) == sum(map(len, seen))
    assert load("folder", path=tmp_path / "scans", selection=Selection(window=(0, 2000))).caveat.startswith(
        "40 images of DICOM 12"
    )


def test_one_name_for_all_patients_is_taken_for_none(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(exist_ok=True, parents=True)
        (folder / f"{number}.dcm").write_bytes(dicom(RAMP + number, PatientID="ANONYMOUS"))
    mine = load("folder", path=tmp_path / "scans")
    assert mine.groups is None
    assert "the DICOM files name one patient alone, which is taken for none" in mine.found.remarks
