"""What the folders above each image mean: its class, its patient, the published part that it belongs to.

One rule (docs/data.md): the classes are the names of the outermost level at which there are several folders, where
folders named train, val and test are parts and not classes. What could be read in two ways is refused, with the option
that decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NoReturn
from unicodedata import normalize

from splitfed.data.listing import DICOM_SUFFIXES, Listing, suffix_of
from splitfed.data.source import PARTS, Selection
from splitfed.errors import DataError

PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MASK_WORDS = frozenset(
    {"mask", "masks", "seg", "segmentation", "segmentations", "annotation", "annotations", "groundtruth", "gt"}
)
DESCRIPTIONS = frozenset(
    {".csv", ".tsv", ".txt", ".json", ".xml", ".md", ".pdf", ".xls", ".xlsx", ".html", ".yaml", ".yml", ".rst", ".log"}
    | {".db", ".ini", ".py", ".ipynb", ".sh", ".rtf", ".doc", ".docx"}
)
"""Suffixes of files that describe images, and are no images that could not be read."""
EXAMPLES = 6
"""Names that a message lists of many."""


@dataclass(frozen=True)
class Layout:
    """What the places of a folder or archive mean, in their order.

    Attributes:
        places: of the images that are read.
        classes: the names of the classes, sorted.
        labels: of each image, a position in ``classes``.
        groups: of each image, the name of its group; None where no level was named.
        parts: of each image, a position in `PARTS`; None where no folders name parts.
        class_level: the folder level of the classes, from 1.
        remarks: what was decided, a sentence each.
        ungrouped: how many folders below the classes were not taken as groups.
    """

    places: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[str, ...] | None
    parts: tuple[int, ...] | None
    class_level: int
    remarks: tuple[str, ...]
    ungrouped: int = 0


def plan(where: str, listing: Listing, selection: Selection) -> Layout:
    """What the folders of this listing mean.

    Args:
        where: the folder or archive, for messages.
        listing: what it holds.
        selection: what the user decided.

    Raises:
        DataError: it could be read in several ways, or as no classes at all.
    """
    return _Planner(where, listing, selection).plan()


class _Planner:
    """One planning; every refusal names the place, what was found, and the option that decides."""

    def __init__(self, where: str, listing: Listing, selection: Selection) -> None:
        self.where = where
        self.selection = selection
        self.places = [place for place in listing.images if _selected(place, selection)]
        self.unread = [
            place for place in listing.others if suffix_of(place) not in DESCRIPTIONS and _selected(place, selection)
        ]
        self.left_out = len(listing.images) - len(self.places)
        self.empty = listing.empty
        self.folders = [place.split("/")[:-1] for place in self.places]
        self.remarks: list[str] = []

    def plan(self) -> Layout:
        if not self.places:
            self._refuse_nothing()
        level = self.selection.class_level or self._find_level()
        self._check_depth(level, "class_level")
        self._check_masks(level)
        names = [normalize("NFC", folders[level - 1]) for folders in self.folders]  # macOS writes é in two parts
        classes = tuple(sorted(set(names)))
        self._check_classes(level, classes)
        parts = self._parts(level)
        if self.left_out:
            self.remarks.append(f"data.include and data.exclude leave out {self.left_out:,} images")
        return Layout(
            places=tuple(self.places),
            classes=classes,
            labels=tuple(map({name: label for label, name in enumerate(classes)}.__getitem__, names)),
            groups=self._groups(level),
            parts=parts,
            class_level=level,
            remarks=tuple(self.remarks),
            ungrouped=self._ungrouped(level, parts is not None),
        )

    # the classes

    def _find_level(self) -> int:
        """The outermost level with several folders that are not all parts."""
        level = 1
        while True:
            names = self._names(level)
            named_parts = {name for name in names if _part(name)}
            if named_parts and named_parts != names:
                self._refuse_mixed(level, named_parts, names - named_parts)
            deeper = all(len(folders) > level for folders in self.folders)
            if named_parts and not deeper:
                self._refuse_flat_parts(level, named_parts)
            if not named_parts and (len(names) > 1 or not deeper):
                break
            level += 1
        if level > 1:
            above = sorted({"/".join(folders[: level - 1]) for folders in self.folders})
            self.remarks.append(f"classes are the folders at level {level}, below {_listed(above, '/')}")
        return level

    def _names(self, level: int) -> set[str]:
        """The folders at this level, of files that could not be read too: they may be a class."""
        for place, folders in zip(self.places, self.folders, strict=True):
            if len(folders) < level:
                raise DataError(
                    f"{self.where}: {place}: expected in a subfolder named after its class, found in "
                    f"{'/'.join(folders) or self.where} itself; move it, or leave it out with data.exclude"
                )
        unread = (place.split("/")[:-1] for place in self.unread)
        return {folders[level - 1] for folders in (*self.folders, *unread) if len(folders) >= level}

    def _check_depth(self, level: int, option: str) -> None:
        for place, folders in zip(self.places, self.folders, strict=True):
            if len(folders) < level:
                raise DataError(
                    f"{self.where}: data.{option} is {level}, but {place} lies only {len(folders)} folders deep; "
                    "name another level (1 is the outermost), or leave such files out with data.exclude"
                )

    def _check_classes(self, level: int, classes: tuple[str, ...]) -> None:
        lost = Counter(
            folders[level - 1]
            for folders in (place.split("/")[:-1] for place in self.unread)
            if len(folders) >= level and folders[level - 1] not in classes
        )
        if lost:
            suffixes = sorted({suffix_of(place) or "no suffix" for place in self.unread})
            raise DataError(
                f"{self.where}: expected images in each class folder, found none that can be read in "
                f"{_listed(sorted(lost), '/')} ({sum(lost.values()):,} files: {', '.join(suffixes)}); "
                f'{_cure(suffixes)}, or leave it out: data.exclude = ["{"*/" * (level - 1)}{min(lost)}/*"]'
            )
        absent = sorted(
            {name.split("/")[level - 1] for name in self.empty if name.count("/") == level - 1} - {*classes}
        )
        if absent and absent != [""]:
            self.remarks.append(f"empty folders passed over: {_listed(absent, '/')}")
        alike = [names for names in _alike(classes) if len(names) > 1]
        if alike:
            self._refuse(
                f"the classes {' and '.join(alike[0])} have names that differ in upper and lower case alone",
                "give the folders of one class one name",
            )
        if len(classes) < 2:
            raise DataError(
                f"{self.where}: expected images in at least two class subfolders, "
                f"found {len(self.places):,} images in {len(classes)}; {self._levels()}"
            )

    def _levels(self) -> str:
        depth = min(map(len, self.folders))
        counts = [f"level {n} has {len({f[n - 1] for f in self.folders})} folders" for n in range(1, depth + 1)]
        return f"{', '.join(counts)}: data.class_level chooses one"

    # parts, groups

    def _parts(self, level: int) -> tuple[int, ...] | None:
        """The published part of each image, by a folder above its class or directly below it."""
        above = [next((part for name in folders[: level - 1] if (part := _part(name))), "") for folders in self.folders]
        below = [_part(folders[level]) if len(folders) > level else "" for folders in self.folders]
        for named in (above, below):
            if any(named):
                if not all(named):
                    place = self.places[named.index("")]
                    self._refuse(
                        f"some images lie in folders named train, val or test, and {place} does not",
                        "leave one kind out with data.exclude",
                    )
                counts = Counter(named)
                self.remarks.append(
                    "published parts "
                    + ", ".join(f"{part} ({counts[part]:,})" for part in PARTS if counts[part])
                    + ' are pooled and split anew; data.split = "folders" keeps the attacker and the test out of train'
                )
                return tuple(map(PARTS.index, named))
        return None

    def _groups(self, level: int) -> tuple[str, ...] | None:
        wanted = self.selection.group_level
        if wanted is None:
            return None
        if wanted == level:
            raise DataError(
                f"{self.where}: data.group_level and the class level are both {level}; "
                "groups such as patients lie at another level than the classes"
            )
        self._check_depth(wanted, "group_level")
        groups = tuple(folders[wanted - 1] for folders in self.folders)
        self.remarks.append(f"groups are the {len(set(groups)):,} names of the folders at level {wanted}")
        return groups

    def _ungrouped(self, level: int, parts_known: bool) -> int:
        """Folders below the classes that may be patients: several of them in some class."""
        if self.selection.group_level is not None:
            return 0
        below = {(f[level - 1], name) for f in self.folders for name in f[level:] if not (parts_known and _part(name))}
        per_class = Counter(class_name for class_name, _ in below)
        return len(below) if max(per_class.values(), default=0) > 1 else 0

    # what is refused

    def _check_masks(self, level: int) -> None:
        """Masks are no images of their class: refused unless a pattern of the user's asks for them by name."""
        asked = " ".join(self.selection.include).lower()
        folders = sorted(
            {
                "/".join(folders[: position + 1])
                for folders in self.folders
                for position, name in enumerate(folders)
                if _is_mask(name, exactly=position == level - 1) and name.lower() not in asked
            }
        )
        if folders:
            patterns = sorted({f'"{"*/" if "/" in f else ""}{f.rpartition("/")[2]}/*"' for f in folders})
            self._refuse(
                f"{_listed(folders, '/')} {'looks' if len(folders) == 1 else 'look'} like masks and not like images of "
                "a class",
                f"leave them out: data.exclude = [{', '.join(patterns)}]. To read masks as images, name them in "
                "data.include",
            )
        masks = [place for place in _mask_files(self.places) if "mask" not in asked]
        if masks:
            self._refuse(
                f"{len(masks):,} files look like masks of images beside them ({_listed(masks)})",
                'leave them out: data.exclude = ["*_mask*"]. To read masks as images, name them in data.include',
            )

    def _refuse_nothing(self) -> NoReturn:
        if self.left_out:
            self._refuse(
                f"data.include and data.exclude leave out all {self.left_out:,} images",
                'a pattern is held against the whole place, such as "train/COVID/*"',
            )
        suffixes = sorted({suffix_of(place) or "no suffix" for place in self.unread})
        found = f"; its {len(self.unread):,} files are {', '.join(suffixes)}: {_cure(suffixes)}" if suffixes else ""
        raise DataError(f"{self.where}: expected images in at least two class subfolders, found 0 images in 0{found}")

    def _refuse_mixed(self, level: int, parts: set[str], others: set[str]) -> NoReturn:
        patterns = ", ".join(f'"{"*/" * (level - 1)}{name}/*"' for name in sorted(others)[:EXAMPLES])
        self._refuse(
            f"folders named after parts ({_listed(sorted(parts), '/')}) lie beside {_listed(sorted(others), '/')}",
            f"leave one kind out, such as data.exclude = [{patterns}], or say that the folders at this level are the "
            f"classes: data.class_level = {level}",
        )

    def _refuse_flat_parts(self, level: int, parts: set[str]) -> NoReturn:
        self._refuse(
            f"images lie directly in {_listed(sorted(parts), '/')}, with no class folder below",
            "sort them into one folder per class, as classes are read from folders and not from a table of labels; or, "
            f"to tell the parts themselves apart, data.class_level = {level}",
        )

    def _refuse(self, found: str, way_out: str) -> NoReturn:
        raise DataError(f"{self.where}: cannot tell what the folders mean: {found}; {way_out}")


def _alike(names: Iterable[str]) -> list[list[str]]:
    """The names in groups that differ in case alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return list(groups.values())


def _selected(place: str, selection: Selection) -> bool:
    matches: Callable[[Iterable[str]], bool] = lambda patterns: any(fnmatchcase(place, p) for p in patterns)  # noqa: E731
    return (not selection.include or matches(selection.include)) and not matches(selection.exclude)


def _part(name: str) -> str:
    """Which published part a folder of this name is; empty for none."""
    return PART_NAMES.get(name.lower(), "")


def _is_mask(name: str, *, exactly: bool) -> bool:
    """Whether a folder is named after masks; a class may well be called "with_mask", so there only ``exactly``."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    return (len(words) == 1 or not exactly) and any(word in MASK_WORDS for word in words)


def _mask_files(places: Sequence[str]) -> list[str]:
    """Files such as ``a_mask.png`` or ``a_mask_1.png`` beside a file ``a.png``."""
    stems = {place.rpartition(".")[0] for place in places}
    named = re.compile(r"(.+?)[ _-](?:mask|seg|segmentation)(?:[ _-]?\d+)?", re.IGNORECASE)
    matches = ((place, named.fullmatch(place.rpartition(".")[0])) for place in places)
    return [place for place, match in matches if match and match[1] in stems]


def _listed(names: Sequence[str], end: str = "") -> str:
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return ", ".join(f"{name}{end}" for name in names[:EXAMPLES]) + more


def _cure(suffixes: Sequence[str]) -> str:
    """The way out for files of these suffixes."""
    if {".nii", ".mha", ".mhd", ".nrrd", ".gz"} & {*suffixes}:
        return "save volumes as one image per slice"
    if "no suffix" in suffixes:
        return f"if they are DICOM, give them the suffix {min(DICOM_SUFFIXES)}; otherwise convert them to PNG"
    return "convert them to PNG"
