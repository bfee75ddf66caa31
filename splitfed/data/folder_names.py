"""What a folder's or file's name says it holds: a published part, masks, or images of no class in particular."""

from __future__ import annotations

import re
from collections.abc import Sequence

PART_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
BESIDE_A_PART = frozenset({"set", "data", "dataset", "images", "x", "split", "seg", "folder"})
"""Words that may stand beside a part's, as in ``training_set``, ``seg_test`` or ``X_train``."""
MASKS = frozenset(
    {"mask", "masks", "seg", "segs", "segmentation", "segmentations", "annotation", "annotations", "gt", "groundtruth"}
    | {"ground truth"}
)
CONTAINERS = frozenset(
    {"image", "images", "img", "imgs", "label", "labels", "data", "dataset", "raw", "processed", "jpg", "jpeg", "png"}
)
_MASK_FILE = re.compile(r"(.+?)((?:[ _-](?:masks?|seg|segmentation))(?:[ _-]?\d+)?)", re.IGNORECASE)


def part_of(name: str) -> str:
    """Which published part a folder of this name is; empty for none.

    >>> [part_of(name) for name in ("Training_Set", "seg_test", "val", "test tube", "COVID")]
    ['train', 'test', 'val', '', '']
    """
    words = _words(name)
    found = [PART_WORDS[word] for word in words if word in PART_WORDS]
    return found[0] if len(found) == 1 and len(found) == len([w for w in words if w not in BESIDE_A_PART]) else ""


def is_mask(name: str, *, of_class: bool) -> bool:
    """Whether a folder is named after masks. A class may well be called "with mask", so there the whole name counts.

    >>> is_mask("lung masks", of_class=False), is_mask("with_mask", of_class=True), is_mask("GT001", of_class=False)
    (True, False, False)
    """
    words = re.sub(r"[ _-]+", " ", name.lower()).strip()
    return words in MASKS or (not of_class and words.endswith((" mask", " masks")))


def is_container(name: str) -> bool:
    """Whether a folder's name says that it holds images or labels, and not of which class."""
    return name.lower() in CONTAINERS


def mask_tails(places: Sequence[str]) -> list[str]:
    """What ends the names of files such as ``a_mask.png`` or ``a_mask_1.png`` that lie beside a file ``a.png``.

    >>> mask_tails(["x/a.png", "x/a_mask.png", "x/a_mask_1.png", "x/b_mask.png"])
    ['_mask', '_mask_1']
    """
    stems = {place.rpartition(".")[0] for place in places}
    matches = (_MASK_FILE.fullmatch(stem) for stem in stems)
    return sorted({match[2] for match in matches if match and match[1] in stems})


def _words(name: str) -> list[str]:
    """The words of a name in lower case.

    >>> _words("X_train-2 (old)")
    ['x', 'train', '2', 'old']
    """
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
