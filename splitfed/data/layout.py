"""What the folders above each image mean: its class, its patient, the published part that it belongs to.

One rule (docs/data.md): the classes are the names of the outermost level at which there are several folders, where
folders named after train, val and test are parts and not classes. What could be read in two ways is refused, with the
option that decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from typing import NoReturn
from unicodedata import normalize

from splitfed.data.folder_names import is_container, is_mask, mask_tails, part_of
from splitfed.data.listing import BROKEN_LINK, DICOM_SUFFIXES, Listing, suffix_of
from splitfed.data.source import PARTS, Selection
from splitfed.errors import DataError

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
        self.left_out = len(listing.images) - len(self.places)
        others = [place for place in listing.others if _selected(place, selection)]
        broken = [place for place, kind in listing.unusable if kind == BROKEN_LINK and _selected(place, selection)]
        self.unread = [place for place in others if suffix_of(place) not in DESCRIPTIONS] + broken
        """Files that may have been meant as images."""
        self.told_of = [_folders(place) for place in others if suffix_of(place) in DESCRIPTIONS]
        self.told_of += [place.split("/") for place in listing.empty]
        """Folders that hold descriptions or nothing."""
        self.folders = [_folders(place) for place in self.places]
        self.remarks: list[str] = []

    def plan(self) -> Layout:
        if not self.places:
            self._refuse_nothing()
        level = self.selection.class_level or self._find_level()
        self._check_depth(level, "class_level")
        self._check_masks(level)
        names = [folders[level - 1] for folders in self.folders]
        classes = tuple(sorted(set(names)))
        self._check_classes(level, classes)
        parts = self._parts(level)
        self._check_below(level, classes, parts)
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
            named_parts = {name for name in names if part_of(name)}
            if named_parts and named_parts != names:
                self._refuse_mixed(level, named_parts, names - named_parts)
            deeper = all(len(folders) > level for folders in self.folders)
            if named_parts and not deeper:
                self._refuse_flat_parts(level)
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
                    f"{'/'.join(folders) or self.where} itself; move it, or leave it out with "
                    f'data.exclude = ["{escape(place)}"]'
                )
        unread = map(_folders, self.unread)
        return {folders[level - 1] for folders in (*self.folders, *unread) if len(folders) >= level}

    def _check_depth(self, level: int, option: str) -> None:
        for place, folders in zip(self.places, self.folders, strict=True):
            if len(folders) < level:
                raise DataError(
                    f"{self.where}: data.{option} is {level}, but {place} lies only {len(folders)} folders deep; "
                    "name another level (1 is the outermost), or leave such files out with data.exclude"
                )

    def _check_classes(self, level: int, classes: tuple[str, ...]) -> None:
        lost = [place for place in self.unread if len(_folders(place)) >= level]
        lost = [place for place in lost if _folders(place)[level - 1] not in classes]
        if lost:
            names = sorted({_folders(place)[level - 1] for place in lost})
            suffixes = sorted({suffix_of(place) or "no suffix" for place in lost})
            patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in names)
            raise DataError(
                f"{self.where}: expected images in each class folder, found none that can be read in "
                f"{_listed(names, '/')} ({len(lost):,} files: {_listed(suffixes)}); {_cure(suffixes)}, or leave it "
                f"out: data.exclude = [{patterns}]"
            )
        absent = {folders[level - 1] for folders in self.told_of if len(folders) >= level} - {*classes, ""}
        if absent:
            self.remarks.append(f"folders without images passed over: {_listed(sorted(absent), '/')}")
        alike = [names for names in _alike(classes) if len(names) > 1]
        if alike:
            self._refuse(
                f"the classes {' and '.join(alike[0])} have names that differ in upper and lower case alone",
                "give the folders of one class one name",
            )
        if len(classes) < 2:
            raise DataError(
                f"{self.where}: expected images in at least two class subfolders, "
                f"found {len(self.places):,} images in {len(classes)}{self._levels()}"
            )
        if all(is_container(name) for name in classes) and self.selection.class_level is None:
            patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in classes[1:])
            self._refuse(
                f"{_listed(classes, '/')} say what is in them and not of which class it is",
                f"leave all but one out, such as data.exclude = [{patterns}], or say that they are "
                f"the classes: data.class_level = {level}",
            )

    def _levels(self) -> str:
        depth = min(map(len, self.folders))
        counts = [(n, len({folders[n - 1] for folders in self.folders})) for n in range(1, depth + 1)]
        several = [f"level {n} has {count} folders" for n, count in counts if count > 1]
        return f"; {', '.join(several)}: data.class_level chooses one" if several else ""

    def _check_below(self, level: int, classes: tuple[str, ...], parts: tuple[int, ...] | None) -> None:
        """Refuse folders whose names below are fewer than they are themselves: patients above their classes, say."""
        if self.selection.class_level is not None or self.selection.group_level is not None or parts is not None:
            return
        if any(len(folders) <= level for folders in self.folders):
            return
        below = Counter(name for _, name in {(folders[level - 1], folders[level]) for folders in self.folders})
        if 2 <= len(below) < len(classes) and min(below.values()) > 1:
            self._refuse(
                f"each of {len(classes):,} folders such as {_listed(classes[:3], '/')} holds some of the same few "
                f"({_listed(sorted(below), '/')})",
                f"if these few are the classes, data.class_level = {level + 1} (and data.group_level = {level} where "
                f"the folders above are patients); if not, data.class_level = {level}",
            )

    # parts, groups

    def _parts(self, level: int) -> tuple[int, ...] | None:
        """The published part of each image, by a folder above its class or directly below it."""
        above = [next((p for name in folders[: level - 1] if (p := part_of(name))), "") for folders in self.folders]
        below = [part_of(folders[level]) if len(folders) > level else "" for folders in self.folders]
        for named in (above, below):
            if any(named):
                if not all(named):
                    place = self.places[named.index("")]
                    self._refuse(
                        f"some images lie in folders named after train, val or test, and {place} does not",
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
        below = {
            (f[level - 1], name) for f in self.folders for name in f[level:] if not (parts_known and part_of(name))
        }
        per_class = Counter(class_name for class_name, _ in below)
        return len(below) if max(per_class.values(), default=0) > 1 else 0

    # what is refused

    def _check_masks(self, level: int) -> None:
        """Masks are no images of their class: refused unless a pattern of the user's asks for them by name."""
        asked = " ".join(self.selection.include).lower()
        wrappers = [len(self._names(above)) == 1 for above in range(1, level)]
        folders = sorted(
            {
                "/".join(folders[: position + 1])
                for folders in self.folders
                for position, name in enumerate(folders)
                if is_mask(name, of_class=position == level - 1)
                and not (position < level - 1 and wrappers[position])
                and name.lower() not in asked
            }
        )
        if folders:
            patterns = _patterns(f"{'*/' if '/' in f else ''}{escape(f.rpartition('/')[2])}/*" for f in folders)
            self._refuse(
                f"{_listed(folders, '/')} {'looks' if len(folders) == 1 else 'look'} like masks and not like images of "
                "a class",
                f"leave them out: data.exclude = [{patterns}]. To read masks as images, name them in data.include",
            )
        tails = [] if "mask" in asked else mask_tails(self.places)
        if tails:
            patterns = _patterns(f"*{escape(tail)}.*" for tail in tails)
            self._refuse(
                f"files look like masks of images beside them (their names end in {_listed(tails)})",
                f"leave them out: data.exclude = [{patterns}]. To read masks as images, name them in data.include",
            )

    def _refuse_nothing(self) -> NoReturn:
        if self.left_out:
            self._refuse(
                f"data.include and data.exclude leave out all {self.left_out:,} images",
                'a pattern is held against the whole place, such as "train/COVID/*"',
            )
        suffixes = sorted({suffix_of(place) or "no suffix" for place in self.unread})
        found = f"; its {len(self.unread):,} files are {_listed(suffixes)}: {_cure(suffixes)}" if suffixes else ""
        raise DataError(f"{self.where}: expected images in at least two class subfolders, found 0 images in 0{found}")

    def _refuse_mixed(self, level: int, parts: set[str], others: set[str]) -> NoReturn:
        patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in sorted(parts))
        self._refuse(
            f"folders named after parts ({_listed(sorted(parts), '/')}) lie beside {_listed(sorted(others), '/')}",
            f"read the parts alone with data.include = [{patterns}] or leave them out with data.exclude, or say that "
            f"the folders at this level are the classes: data.class_level = {level}",
        )

    def _refuse_flat_parts(self, level: int) -> NoReturn:
        flat = {folders[level - 1] for folders in self.folders if len(folders) == level}
        sorted_in = {folders[level - 1] for folders in self.folders} - flat
        patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in sorted(flat))
        way_out = "sort them into one folder per class, as classes are read from folders and not from a table of labels"
        self._refuse(
            f"images lie directly in {_listed(sorted(flat), '/')}, with no class folder below",
            f"{way_out}, or leave them out: data.exclude = [{patterns}]"
            if sorted_in
            else f"{way_out}; or, to tell the parts themselves apart, data.class_level = {level}",
        )

    def _refuse(self, found: str, way_out: str) -> NoReturn:
        raise DataError(f"{self.where}: cannot tell what the folders mean: {found}; {way_out}")


def _folders(place: str) -> list[str]:
    """The folders above a file; macOS writes é as two characters, which are one here."""
    return [normalize("NFC", name) for name in place.split("/")[:-1]]


def _selected(place: str, selection: Selection) -> bool:
    normal = normalize("NFC", place)
    matches: Callable[[Iterable[str]], bool] = lambda patterns: any(  # noqa: E731
        fnmatchcase(normal, normalize("NFC", pattern)) for pattern in patterns
    )
    return (not selection.include or matches(selection.include)) and not matches(selection.exclude)


def _alike(names: Iterable[str]) -> list[list[str]]:
    """The names in groups that differ in case alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return list(groups.values())


def _patterns(patterns: Iterable[str]) -> str:
    """Distinct patterns as a list in TOML."""
    return ", ".join(f'"{pattern}"' for pattern in dict.fromkeys(patterns))


def _listed(names: Sequence[str], end: str = "") -> str:
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return ", ".join(f"{name}{end}" for name in names[:EXAMPLES]) + more


def _cure(suffixes: Sequence[str]) -> str:
    """The way out for files of these suffixes."""
    if {".nii", ".mha", ".mhd", ".nrrd", ".gz"} & {*suffixes}:
        return "save volumes as one image per slice"
    if any(suffix == "no suffix" or suffix[1:].isdigit() for suffix in suffixes):  # named by number, as series are
        return f"if they are DICOM, give them the suffix {min(DICOM_SUFFIXES)}; otherwise convert them to PNG"
    return "convert them to PNG (links that lead nowhere have to be mended)"
