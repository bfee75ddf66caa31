"""What the folders above each image mean: its class, its patient, the published part that it belongs to.

One rule (docs/data.md): the classes are the names of the outermost level at which there are several folders, where
folders named after train, val and test are parts and not classes. What could be read in two ways is refused, with the
option that decides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from splitfed.data import folder_checks as checks
from splitfed.data.folder_names import part_of
from splitfed.data.listing import Listing
from splitfed.data.selected import Selected, select
from splitfed.data.source import PARTS, Selection
from splitfed.errors import DataError


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
    return _Planner(select(where, listing, selection)).plan()


class _Planner:
    """One planning, and what it has to remark."""

    def __init__(self, found: Selected) -> None:
        self.found = found
        self.remarks: list[str] = []

    def plan(self) -> Layout:
        """The layout, once all that could be read in two ways is refused."""
        found = self.found
        if not found.places:
            checks.refuse_nothing(found)
        level = found.selection.class_level or self._find_level()
        checks.check_depth(found, level, "class_level")
        checks.check_masks(found, level)
        names = [folders[level - 1] for folders in found.folders]
        classes = tuple(sorted(set(names)))
        checks.check_classes(found, level, classes)
        self._remark_on_the_absent(level, classes)
        parts = self._parts(level)
        checks.check_below(found, level, classes, parts)
        if found.left_out:
            self.remarks.append(f"data.include and data.exclude leave out {found.left_out:,} images")
        return Layout(
            places=tuple(found.places),
            classes=classes,
            labels=tuple(map({name: label for label, name in enumerate(classes)}.__getitem__, names)),
            groups=self._groups(level),
            parts=parts,
            class_level=level,
            remarks=tuple(self.remarks),
            ungrouped=self._ungrouped(level, parts is not None),
        )

    def _find_level(self) -> int:
        """The outermost level with several folders that are not all parts."""
        level = 1
        while True:
            names = self.found.names(level)
            named_parts = {name for name in names if part_of(name)}
            if named_parts and named_parts != names:
                checks.refuse_mixed(self.found, level, named_parts, names - named_parts)
            deeper = all(len(folders) > level for folders in self.found.folders)
            if named_parts and not deeper:
                checks.refuse_flat_parts(self.found, level)
            if not named_parts and (len(names) > 1 or not deeper):
                break
            level += 1
        if level > 1:
            above = sorted({"/".join(folders[: level - 1]) for folders in self.found.folders})
            self.remarks.append(f"classes are the folders at level {level}, below {checks.listed(above, '/')}")
        return level

    def _remark_on_the_absent(self, level: int, classes: tuple[str, ...]) -> None:
        absent = {folders[level - 1] for folders in self.found.told_of if len(folders) >= level} - {*classes, ""}
        if absent:
            self.remarks.append(f"folders without images passed over: {checks.listed(sorted(absent), '/')}")

    def _parts(self, level: int) -> tuple[int, ...] | None:
        """The published part of each image, by a folder above its class or directly below it."""
        above = [
            next((p for name in folders[: level - 1] if (p := part_of(name))), "") for folders in self.found.folders
        ]
        below = [part_of(folders[level]) if len(folders) > level else "" for folders in self.found.folders]
        for named in (above, below):
            if any(named):
                if not all(named):
                    place = self.found.places[named.index("")]
                    self.found.refuse(
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
        """The group of each image, by the name of the folder at the level that the user chose."""
        wanted = self.found.selection.group_level
        if wanted is None:
            return None
        if wanted == level:
            raise DataError(
                f"{self.found.where}: data.group_level and the class level are both {level}; "
                "groups such as patients lie at another level than the classes"
            )
        checks.check_depth(self.found, wanted, "group_level")
        groups = tuple(folders[wanted - 1] for folders in self.found.folders)
        self.remarks.append(f"groups are the {len(set(groups)):,} names of the folders at level {wanted}")
        return groups

    def _ungrouped(self, level: int, parts_known: bool) -> int:
        """Folders below the classes that may be patients: several of them in some class."""
        if self.found.selection.group_level is not None:
            return 0
        below = {
            (f[level - 1], name)
            for f in self.found.folders
            for name in f[level:]
            if not (parts_known and part_of(name))
        }
        per_class = Counter(class_name for class_name, _ in below)
        return len(below) if max(per_class.values(), default=0) > 1 else 0
