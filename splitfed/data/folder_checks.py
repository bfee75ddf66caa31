"""What folders are refused for, each refusal with the place, what was found, and the option that decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from glob import escape
from typing import NoReturn

from splitfed.data.folder_names import is_container, is_mask, mask_tails
from splitfed.data.listing import DICOM_SUFFIXES, suffix_of
from splitfed.data.selected import Selected, folders_of
from splitfed.errors import DataError

EXAMPLES = 6
"""Names that a message lists of many."""


def check_depth(found: Selected, level: int, option: str) -> None:
    """Whether every image lies as deep as the level that the user named."""
    for place, folders in zip(found.places, found.folders, strict=True):
        if len(folders) < level:
            raise DataError(
                f"{found.where}: data.{option} is {level}, but {place} lies only {len(folders)} folders deep; "
                "name another level (1 is the outermost), or leave such files out with data.exclude"
            )


def check_masks(found: Selected, level: int) -> None:
    """Masks are no images of their class: refused unless a pattern of the user's asks for them by name."""
    asked = " ".join(found.selection.include).lower()
    wrappers = [len(found.names(above)) == 1 for above in range(1, level)]
    folders = sorted(
        {
            "/".join(folders[: position + 1])
            for folders in found.folders
            for position, name in enumerate(folders)
            if is_mask(name, of_class=position == level - 1)
            and not (position < level - 1 and wrappers[position])
            and name.lower() not in asked
        }
    )
    if folders:
        patterns = _patterns(f"{'*/' if '/' in f else ''}{escape(f.rpartition('/')[2])}/*" for f in folders)
        found.refuse(
            f"{listed(folders, '/')} {'looks' if len(folders) == 1 else 'look'} like masks and not like images of "
            "a class",
            f"leave them out: data.exclude = [{patterns}]. To read masks as images, name them in data.include",
        )
    tails = [] if "mask" in asked else mask_tails(found.places)
    if tails:
        patterns = _patterns(f"*{escape(tail)}.*" for tail in tails)
        found.refuse(
            f"files look like masks of images beside them (their names end in {listed(tails)})",
            f"leave them out: data.exclude = [{patterns}]. To read masks as images, name them in data.include",
        )


def check_classes(found: Selected, level: int, classes: tuple[str, ...]) -> None:
    """Whether these are several classes, told apart by their names, none of which was lost for want of a reader."""
    _check_lost(found, level, classes)
    alike = [names for names in _alike(classes) if len(names) > 1]
    if alike:
        found.refuse(
            f"the classes {' and '.join(alike[0])} have names that differ in upper and lower case alone",
            "give the folders of one class one name",
        )
    if len(classes) < 2:
        raise DataError(
            f"{found.where}: expected images in at least two class subfolders, "
            f"found {len(found.places):,} images in {len(classes)}{_levels(found)}"
        )
    if all(is_container(name) for name in classes) and found.selection.class_level is None:
        patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in classes[1:])
        found.refuse(
            f"{listed(classes, '/')} say what is in them and not of which class it is",
            f"leave all but one out, such as data.exclude = [{patterns}], or say that they are "
            f"the classes: data.class_level = {level}",
        )


def _check_lost(found: Selected, level: int, classes: tuple[str, ...]) -> None:
    lost = [place for place in found.unread if len(folders_of(place)) >= level]
    lost = [place for place in lost if folders_of(place)[level - 1] not in classes]
    if lost:
        names = sorted({folders_of(place)[level - 1] for place in lost})
        suffixes = sorted({suffix_of(place) or "no suffix" for place in lost})
        patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in names)
        raise DataError(
            f"{found.where}: expected images in each class folder, found none that can be read in "
            f"{listed(names, '/')} ({len(lost):,} files: {listed(suffixes)}); {_cure(suffixes)}, or leave it "
            f"out: data.exclude = [{patterns}]"
        )


def _levels(found: Selected) -> str:
    """The levels that could be that of the classes."""
    depth = min(map(len, found.folders))
    counts = [(n, len({folders[n - 1] for folders in found.folders})) for n in range(1, depth + 1)]
    several = [f"level {n} has {count} folders" for n, count in counts if count > 1]
    return f"; {', '.join(several)}: data.class_level chooses one" if several else ""


def check_below(found: Selected, level: int, classes: tuple[str, ...], parts: tuple[int, ...] | None) -> None:
    """Refuse folders whose names below are fewer than they are themselves: patients above their classes, say."""
    if found.selection.class_level is not None or found.selection.group_level is not None or parts is not None:
        return
    if any(len(folders) <= level for folders in found.folders):
        return
    below = Counter(name for _, name in {(folders[level - 1], folders[level]) for folders in found.folders})
    if 2 <= len(below) < len(classes) and min(below.values()) > 1:
        found.refuse(
            f"each of {len(classes):,} folders such as {listed(classes[:3], '/')} holds some of the same few "
            f"({listed(sorted(below), '/')})",
            f"if these few are the classes, data.class_level = {level + 1} (and data.group_level = {level} where "
            f"the folders above are patients); if not, data.class_level = {level}",
        )


def refuse_nothing(found: Selected) -> NoReturn:
    """There is no image."""
    if found.left_out:
        found.refuse(
            f"data.include and data.exclude leave out all {found.left_out:,} images",
            'a pattern is held against the whole place, such as "train/COVID/*"',
        )
    suffixes = sorted({suffix_of(place) or "no suffix" for place in found.unread})
    files = f"; its {len(found.unread):,} files are {listed(suffixes)}: {_cure(suffixes)}" if suffixes else ""
    raise DataError(f"{found.where}: expected images in at least two class subfolders, found 0 images in 0{files}")


def refuse_mixed(found: Selected, level: int, parts: set[str], others: set[str]) -> NoReturn:
    """Parts lie beside what is no part."""
    patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in sorted(parts))
    found.refuse(
        f"folders named after parts ({listed(sorted(parts), '/')}) lie beside {listed(sorted(others), '/')}",
        f"read the parts alone with data.include = [{patterns}] or leave them out with data.exclude, or say that "
        f"the folders at this level are the classes: data.class_level = {level}",
    )


def refuse_flat_parts(found: Selected, level: int) -> NoReturn:
    """Images lie directly in a part."""
    flat = {folders[level - 1] for folders in found.folders if len(folders) == level}
    sorted_in = {folders[level - 1] for folders in found.folders} - flat
    patterns = _patterns("*/" * (level - 1) + escape(name) + "/*" for name in sorted(flat))
    way_out = "sort them into one folder per class, as classes are read from folders and not from a table of labels"
    found.refuse(
        f"images lie directly in {listed(sorted(flat), '/')}, with no class folder below",
        f"{way_out}, or leave them out: data.exclude = [{patterns}]"
        if sorted_in
        else f"{way_out}; or, to tell the parts themselves apart, data.class_level = {level}",
    )


def _alike(names: Iterable[str]) -> list[list[str]]:
    """The names in groups that differ in case alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return list(groups.values())


def _patterns(patterns: Iterable[str]) -> str:
    """Distinct patterns as a list in TOML."""
    return ", ".join(f'"{pattern}"' for pattern in dict.fromkeys(patterns))


def listed(names: Sequence[str], end: str = "") -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return ", ".join(f"{name}{end}" for name in names[:EXAMPLES]) + more


def _cure(suffixes: Sequence[str]) -> str:
    """The way out for files of these suffixes."""
    if {".nii", ".mha", ".mhd", ".nrrd", ".gz"} & {*suffixes}:
        return "save volumes as one image per slice"
    if any(suffix == "no suffix" or suffix[1:].isdigit() for suffix in suffixes):  # named by number, as series are
        return f"if they are DICOM, give them the suffix {min(DICOM_SUFFIXES)}; otherwise convert them to PNG"
    return "convert them to PNG (links that lead nowhere have to be mended)"
