"""One picture file as 8-bit pixels: what Pillow reads, 16-bit and floating-point TIFF and PNG, DICOM."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitfed.data.listing import DICOM_SUFFIXES, suffix_of
from splitfed.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Window = tuple[float, float]
"""Center and width, in the units of the pixels; for CT in Hounsfield units."""

DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")
"""Pillow's modes of more than 8 bits, all gray."""
EXTRA = "pip install 'splitfed[medical]'"
LONGEST_REASON = 300
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT = 258, 262, 274, 339  # tags of TIFF, and of EXIF
WHITE_IS_ZERO, UNSIGNED = 0, 1
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF's orientation to `PIL.Image.Transpose`, by number."""
OWN_RANGE = "from each image's own minimum to its maximum"


class Picture(NamedTuple):
    """A decoded file.

    Attributes:
        image: of whatever mode the file has; 8-bit gray (mode L) where the file has more bits.
        depth: its bit depth, and what was done about more than 8 bits.
        patient: what a DICOM file says of whose image it is; empty otherwise.
    """

    image: Image.Image
    depth: str
    patient: str = ""


def open_picture(data: bytes, where: str, window: Window | None = None) -> Picture:
    """Decode a file.

    Args:
        data: the file.
        where: names it, and by its suffix tells DICOM.
        window: what pixels of more than 8 bits are shown through; by default the file's own, else its own range.

    Raises:
        DataError: several pictures in one file, pixels that are not finite, or a reader that is not installed.
        Exception: whatever Pillow raises for damaged files.
    """
    if suffix_of(where) in DICOM_SUFFIXES or data[128:132] == b"DICM":
        return _from_dicom(data, where, window)
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if suffix_of(where) in (".tif", ".tiff") and data:
            return _from_tiff(data, where, window)
        raise ValueError("no format that is known here") from None
    if getattr(image, "n_frames", 1) > 1:
        raise _several(where, image.n_frames)  # type: ignore[attr-defined]
    if "transparency" in image.info:
        raise DataError(f"{where}: expected opaque pixels, found transparent ones; convert the images to gray or RGB")
    if image.mode in DEEP_MODES:
        return _deep(image, where, window)
    depth = "16 bits per color, of which the upper 8 are kept" if _bits(image, data) > 8 else "8 bits"
    return Picture(_upright(image), depth)


def _deep(image: Image.Image, where: str, window: Window | None) -> Picture:
    """Gray of more than 8 bits; Pillow takes unsigned numbers of 32 bits for signed ones, and leaves white-is-zero."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode == "I" and image.format == "TIFF" and tags.get(SAMPLE_FORMAT, (1,))[0] == UNSIGNED:
        values = values.view(np.uint32)
    bits = "16 bits" if image.mode.startswith("I;16") or image.format in ("PNG", "PPM") else "32 bits"
    shown, how = to_8_bits(values, where, window)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        shown = _inverted(shown)
    return Picture(_upright(shown, image), f"{bits}, {how}")


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits per color in the file; Pillow opens 16 of them as 8."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))))  # type: ignore[attr-defined]
    return 16 if image.format == "PPM" and len(data) > 5 * image.width * image.height else 8


def _upright(image: Image.Image, of: Image.Image | None = None) -> Image.Image:
    """Turned as the camera was held, where the file says so (EXIF); of a TIFF Pillow has done it."""
    if (of or image).format == "TIFF":
        return image
    turn = TURNS.get((of or image).getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(_transpose(turn))


def _transpose(number: int) -> Image.Transpose:
    from PIL import Image

    return Image.Transpose(number)


def _inverted(image: Image.Image) -> Image.Image:
    return image.point(lambda value: 255 - value)


def to_8_bits(values: NDArray[Any], where: str, window: Window | None) -> tuple[Image.Image, str]:
    """Gray pixels of any depth, (H, W), as an 8-bit image, and how: through the window, or over their own range.

    Raises:
        DataError: pixels that are not finite.
    """
    from PIL import Image

    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        raise DataError(f"{where}: expected finite pixels, found NaN or infinity; replace or remove this file")
    if window is None:
        low, span, how = float(numbers.min()), float(np.ptp(numbers)), OWN_RANGE
    else:
        center, width = window
        low, span, how = center - width / 2, width, f"through the window {center:g}/{width:g}"
    shown = np.clip((numbers - low) / (span or 1.0), 0, 1)
    return Image.fromarray(np.rint(shown * 255).astype(np.uint8)), how


def _several(where: str, count: int) -> DataError:
    return DataError(f"{where}: expected one picture, found {count} in one file; save them as one file each")


def _from_tiff(data: bytes, where: str, window: Window | None) -> Picture:
    """A TIFF that Pillow cannot read."""
    try:
        import tifffile

        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it makes of a damaged file is said below
    except ImportError:
        raise DataError(f"{where}: this kind of TIFF needs tifffile: {EXTRA}; or convert the file to PNG") from None
    from PIL import Image

    try:
        values = tifffile.imread(io.BytesIO(data))
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(_in_a_line(error)) from error
    if values.ndim == 2 and values.dtype != np.uint8:
        shown, how = to_8_bits(values, where, window)
        return Picture(shown, f"{8 * values.dtype.itemsize} bits, {how}")
    if values.dtype == np.uint8 and (values.ndim == 2 or values.shape[2:] == (3,)):
        return Picture(Image.fromarray(values), "8 bits")
    raise DataError(
        f"{where}: expected one gray picture, or an 8-bit RGB one, found {values.dtype} of shape {values.shape}; "
        "convert it to PNG"
    )


def _from_dicom(data: bytes, where: str, window: Window | None) -> Picture:
    try:
        import pydicom
        from pydicom.pixels.utils import pixel_array
    except ImportError:
        raise DataError(f"{where}: reading DICOM needs pydicom: {EXTRA}; or convert the files to PNG") from None
    try:
        file = pydicom.dcmread(io.BytesIO(data))
        if int(file.get("NumberOfFrames") or 1) > 1:
            raise _several(where, int(file.NumberOfFrames))
        image, depth = _shown(file, pixel_array(file), where, window)
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(
            f"{where}: expected a DICOM image, but {_in_a_line(error)}; where a codec is missing, install the one "
            "that pydicom names (pylibjpeg or gdcm), otherwise replace or remove this file"
        ) from error
    return Picture(image, depth, str(file.get("PatientID") or ""))


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__


def _shown(file: Any, stored: NDArray[Any], where: str, window: Window | None) -> tuple[Image.Image, str]:
    """A DICOM file's pixels at 8 bits: rescaled to its units, through a window."""
    from PIL import Image
    from pydicom.pixels.processing import apply_modality_lut

    bits, kind = f"DICOM {int(file.BitsStored)} bits", str(file.PhotometricInterpretation)
    if stored.ndim == 3 and stored.dtype == np.uint8:
        return Image.fromarray(stored), f"{bits} per color"
    if stored.ndim != 2 or kind == "PALETTE COLOR":
        raise DataError(f"{where}: expected gray or 8 bits per color, found {stored.dtype} {kind}; convert it to PNG")
    own = _own_window(file)
    image, how = to_8_bits(np.asarray(apply_modality_lut(stored, file)), where, window or own)
    if window is None and own is not None:
        how = "through each file's own window"
    if kind == "MONOCHROME1":  # its lowest value is white
        image = _inverted(image)
    return image, f"{bits}, {how}"


def _own_window(file: Any) -> Window | None:
    """The first window that a DICOM file proposes (PS3.3 C.11.2.1.2); of a sigmoid its center and width."""
    center, width = file.get("WindowCenter"), file.get("WindowWidth")
    if center is None or width is None or center == "" or width == "":
        return None
    center, width = (float(v if isinstance(v, float | int) else next(iter(v))) for v in (center, width))
    if file.get("VOILUTFunction", "LINEAR") == "LINEAR":  # black is c - 1/2 - (w-1)/2, white c - 1/2 + (w-1)/2
        return center - 0.5, max(width - 1, 1.0)
    return center, width
