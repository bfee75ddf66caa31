"""Defenses and attacks that other packages add by entry point, checked before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from splitfed.errors import UserError

T = TypeVar("T")


def registry(group: str, base: type[T], own: Iterable[type[T]], declares: Sequence[str]) -> dict[str, type[T]]:
    """All classes of a kind by name: this package's, and those of the entry point group.

    Args:
        group: such as ``splitfed.attacks``.
        base: what each class must derive from.
        own: this package's classes.
        declares: class attributes that must hold a text, ``name`` among them.

    Raises:
        UserError: a plug-in cannot be loaded or lacks something; the message names it and says what to do.
    """
    found = {_name(kind): kind for kind in own}
    for point in entry_points(group=group):
        if point.name in found:
            raise UserError(f"{_where(point)}: the name {point.name!r} is taken already; give the plug-in another one")
        found[point.name] = _load(point, base, declares)
    return found


def _load(point: EntryPoint, base: type[T], declares: Sequence[str]) -> type[T]:
    try:
        kind = point.load()
    except Exception as error:
        raise UserError(
            f"{_where(point)}: cannot be loaded ({type(error).__name__}: {error}); install it anew, or uninstall it"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, base)):
        wanted = f"{base.__module__}.{base.__name__}"
        raise UserError(f"{_where(point)}: {kind!r} is not a class of {wanted}; derive it from that")
    lacking = [name for name in declares if not _is_text(getattr(kind, name, None))]
    if lacking:
        raise UserError(f"{_where(point)}: {kind.__name__} lacks {', '.join(lacking)}; set each to one line of text")
    abstract = sorted(getattr(kind, "__abstractmethods__", ()))
    if inspect.isabstract(kind):
        raise UserError(f"{_where(point)}: {kind.__name__} lacks the methods {', '.join(abstract)}; define them")
    if _name(kind) != point.name:
        raise UserError(f"{_where(point)}: {kind.__name__}.name is {_name(kind)!r}; make it {point.name!r}")
    return kind


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _name(kind: type) -> str:
    return str(getattr(kind, "name"))  # noqa: B009 - no base class has to declare it


def _where(point: EntryPoint) -> str:
    return f"plug-in {point.name} of {point.group} ({point.value})"
