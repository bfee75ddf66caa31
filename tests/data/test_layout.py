"""What folders mean: one rule, and a refusal that names the option wherever they could be read in two ways."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from splitfed.data.layout import Layout, plan
from splitfed.data.listing import DICOM_SUFFIXES, PICTURE_SUFFIXES, Listing
from splitfed.data.source import PARTS, Selection
from splitfed.errors import DataError


def listing_of(*places: str) -> Listing:
    listing = Listing()
    for place in places:
        listing.add(place, PICTURE_SUFFIXES | DICOM_SUFFIXES)
    return listing


def planned(*places: str, **selection: object) -> Layout:
    return plan("ROOT", listing_of(*places), Selection(**selection))  # type: ignore[arg-type]


def by_place(layout: Layout) -> dict[str, str]:
    return {place: layout.classes[label] for place, label in zip(layout.places, layout.labels, strict=True)}


@pytest.mark.parametrize(
    ("places", "level", "classes"),
    [
        (("a/1.png", "b/2.png"), 1, ("a", "b")),
        (("a/x/1.png", "b/y/2.png", "b/3.png"), 1, ("a", "b")),
        (("wrapper/a/1.png", "wrapper/b/2.png"), 2, ("a", "b")),
        (("one/two/a/1.png", "one/two/b/2.png"), 3, ("a", "b")),
        (("train/a/1.png", "train/b/2.png", "test/a/3.png"), 2, ("a", "b")),
        (("data/train/a/1.png", "data/valid/b/2.png"), 3, ("a", "b")),
        (("train/a/1.png", "train/b/2.png", "labels.csv"), 2, ("a", "b")),
        (("a/train/1.png", "a/test/2.png", "b/train/3.png", "b/test/4.png"), 1, ("a", "b")),
        (("COVID/images/1.png", "NORMAL/images/2.png"), 1, ("COVID", "NORMAL")),
        (("with_mask/1.png", "without_mask/2.png"), 1, ("with_mask", "without_mask")),
        (("Lungs_with_masks/a/1.png", "Lungs_with_masks/b/2.png"), 2, ("a", "b")),
        (("training_set/training_set/a/1.png", "test_set/test_set/b/2.png"), 3, ("a", "b")),
        (("seg_train/a/1.png", "seg_test/b/2.png"), 2, ("a", "b")),
        (("COVID/GT001/1.png", "NORMAL/GT002/2.png"), 1, ("COVID", "NORMAL")),
        (("a/p1/1.png", "a/p2/2.png", "b/p3/3.png"), 1, ("a", "b")),
        (("é/1.png", "e\u0301/2.png", "b/3.png"), 1, ("b", "é")),  # one letter, written in two ways
        (("a b/1.png", "ü;=/2.png"), 1, ("a b", "ü;=")),
    ],
)
def test_classes_are_the_outermost_level_with_several_folders(
    places: tuple[str, ...], level: int, classes: tuple[str, ...]
) -> None:
    layout = planned(*places)
    assert (layout.class_level, layout.classes) == (level, classes)


def test_published_parts_are_known_above_and_below_the_classes() -> None:
    above = planned("Train/a/1.png", "VALIDATION/a/2.png", "testing/b/3.png")
    below = planned("a/train/1.png", "a/val/2.png", "b/test/3.png")
    for layout in (above, below):
        assert layout.parts is not None
        assert [PARTS[part] for part in layout.parts] == ["train", "val", "test"]
        assert any("pooled" in remark for remark in layout.remarks)
    assert planned("a/1.png", "b/2.png").parts is None


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (("COVID/images/1.png", "COVID/masks/1.png", "N/images/2.png", "N/masks/2.png"),
         r"COVID/masks/, N/masks/ look like masks.*data\.exclude = \[\"\*/masks/\*\"\]"),
        (("images/1.png", "masks/1.png"), r"masks/ looks like masks.*data\.exclude = \[\"masks/\*\"\]"),
        (("a/lung masks/1.png", "b/1.png"), r"a/lung masks/ looks like masks.*\"\*/lung masks/\*\""),
        (("a/x.png", "a/x_mask.png", "a/x_mask_1.png", "b/y.png"),
         r"names end in _mask, _mask_1\); .*data\.exclude = \[\"\*_mask\.\*\", \"\*_mask_1\.\*\"\]"),
        (("train/a/1.png", "COVID/1.png"),
         r"parts \(train/\) lie beside COVID/.*data\.include = \[\"train/\*\"\].*data\.class_level = 1"),
        (("train/1.png", "test/2.png"), r"images lie directly in test/, train/.*data\.class_level = 1"),
        (("a/train/1.png", "a/2.png", "b/train/3.png"), r"a/2\.png does not.*data\.exclude"),
        (("Cat/1.png", "cat/2.png", "dog/3.png"), "Cat and cat have names that differ in upper and lower case"),
        (("a/1.png", "2.png"), r"2\.png: expected in a subfolder named after its class.*data\.exclude"),
        (("a/1.png", "a/2.png"), "at least two class subfolders, found 2 images in 1$"),
        (("train/a/1.png", "train/b/1.png", "val/2.png"), r"directly in val/, .*data\.exclude = \[\"val/\*\"\]"),
        (("images/a/1.png", "images/b/2.png", "labels/a/1.png"),
         r"images/, labels/ say what.*exclude = \[\"labels/\*\"\]"),
        (("p1/C/1.png", "p2/N/2.png", "p3/C/3.png", "p4/N/4.png"),
         r"4 folders such as p1/.*few \(C/, N/\).*class_level = 2"),
        (("a/1.png", "b/1.heic", "b/2.heic"), r"none that can be read in b/ \(2 files: \.heic\); convert.*\"b/\*\""),
        (("a/1.png", "b/IM0001"), r"none that can be read in b/ .*no suffix.*DICOM.*\.dcm"),
        (("a/1.png", "b/scan.nii.gz"), "one image per slice"),
        (("a/scan.heic",), r"found 0 images in 0; its 1 files are \.heic"),
        ((), "found 0 images in 0"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused_with_the_option(places: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=f"ROOT.*{message}"):
        planned(*places)


@pytest.mark.parametrize(
    "places",
    [
        ("C/images/1.png", "C/masks/1.png", "N/images/2.png"),
        ("C [1]/masks [2]/1.png", "C [1]/a.png", "N/b.png", "N/b_segmentation.png"),
        ("Dataset_BUSI_with_GT/a/x.png", "Dataset_BUSI_with_GT/a/x_mask.png", "Dataset_BUSI_with_GT/b/y.png"),
        ("with_mask/1.png", "with_mask/1_mask.png", "without_mask/2.png"),
        ("train/a/1.png", "train/b/2.png", *(f"x{n}/1.png" for n in range(9))),
        ("train/a/1.png", "train/b/2.png", "val/3.png"),
        ("images/a/1.png", "images/b/2.png", "labels/a/1.png"),
        ("a/1.png", "b/1.png", *(f"c [{n}]/x.heic" for n in range(9))),
        ("a/1.png", "b/2.png", "3 [x].png"),
        ("Me\u0301nisque/1.png", "Me\u0301nisque/x.mat", "b/1.png", "c/x.mat"),
    ],
)
def test_the_options_that_a_message_offers_lead_to_classes(places: tuple[str, ...]) -> None:
    """Pasted one after the other, as a user would."""
    options: dict[str, Any] = {}
    for _ in range(5):
        try:
            layout = planned(*places, **options)
        except DataError as error:
            name, patterns = re.findall(r'data\.(exclude|include) = (\[".*?"\])', str(error))[0]
            options[name] = (*options.get(name, ()), *tomllib.loads(f"x = {patterns}")["x"])
        else:
            assert len(layout.classes) == 2
            return
    pytest.fail(f"no end: {options}")


def test_the_cure_in_each_message_works() -> None:
    assert planned("C/images/1.png", "C/masks/1.png", "N/images/2.png", exclude=("*/masks/*",)).classes == ("C", "N")
    assert planned("train/a/1.png", "train/b/2.png", "COVID/1.png", exclude=("COVID/*",)).classes == ("a", "b")
    assert planned("train/1.png", "test/2.png", class_level=1).classes == ("test", "train")
    assert planned("a/x.png", "a/x_mask.png", "b/y.png", exclude=("*_mask*",)).places == ("a/x.png", "b/y.png")
    assert planned("a/1.png", "b/1.png", "c/x.heic", exclude=("c/*",)).classes == ("a", "b")
    asked = planned("C/masks/1.png", "N/masks/2.png", "C/images/1.png", include=("*/masks/*",))
    assert by_place(asked) == {"C/masks/1.png": "C", "N/masks/2.png": "N"}


def test_what_is_left_out_is_counted() -> None:
    layout = planned("a/1.png", "b/2.png", "c/3.png", exclude=("c/*",))
    assert "data.include and data.exclude leave out 1 images" in layout.remarks
    with pytest.raises(DataError, match="leave out all 2 images"):
        planned("a/1.png", "b/2.png", include=("nothing/*",))


def test_the_users_levels() -> None:
    places = ("COVID/p1/1.png", "COVID/p2/2.png", "NORMAL/p3/3.png", "NORMAL/p1/4.png")
    grouped = planned(*places, group_level=2)
    assert grouped.groups == ("p1", "p2", "p3", "p1")
    assert grouped.ungrouped == 0
    assert planned(*places).ungrouped == 4
    assert planned(*places, class_level=2).classes == ("p1", "p2", "p3")
    assert planned(*("p1/COVID/1.png", "p2/NORMAL/2.png"), class_level=2, group_level=1).groups == ("p1", "p2")
    with pytest.raises(DataError, match=r"data\.group_level is 3, but COVID/p1/1\.png lies only 2 folders deep"):
        planned(*places, group_level=3)
    with pytest.raises(DataError, match=r"data\.group_level and the class level are both 1"):
        planned(*places, group_level=1)
    with pytest.raises(DataError, match=r"data\.class_level is 4"):
        planned(*places, class_level=4)


def test_one_folder_below_each_class_is_no_patient() -> None:
    assert planned("COVID/images/1.png", "COVID/images/2.png", "NORMAL/images/3.png").ungrouped == 0


def test_junk_is_nowhere_and_other_files_are_counted() -> None:
    listing = listing_of(
        "a/1.PNG", "__MACOSX/a/._1.png", "a/.DS_Store", ".git/x.png", "notes.txt", "a/x.JFIF", "a/Thumbs.db"
    )
    assert listing.images == ["a/1.PNG", "a/x.JFIF"]
    assert listing.skipped() == {".db": 1, ".txt": 1}
