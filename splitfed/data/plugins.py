"""Data sets that other packages add: found by entry point, and checked in everything that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TypeVar

from splitfed.data.checks import SMALLEST_SIZE, check_decoded
from splitfed.data.source import DatasetSource, Decoded, Request
from splitfed.errors import DataError, SplitfedError, UserError
from splitfed.plugins import Registry, brief, check_names, collect, is_text, where

PLUGIN_GROUP = "splitfed.datasets"

T = TypeVar("T")


def with_plugins(own: Mapping[str, DatasetSource]) -> Registry[DatasetSource]:
    """Our own data sets and those of the entry point group."""
    return collect("data set", PLUGIN_GROUP, own, _checked)


class PluginSource(DatasetSource):
    """A plug-in's data set: what it raises unasked or gives amiss is a `DataError` with its name."""

    def __init__(self, point: EntryPoint, source: DatasetSource) -> None:
        self._label = where(point)
        self._source = source
        self.name, self.summary, self.default_image_size = source.name, source.summary, source.default_image_size
        self.synthetic, self.takes_path = source.synthetic, source.takes_path
        self.takes_attribute, self.takes_selection = source.takes_attribute, source.takes_selection

    def read(self, request: Request) -> Decoded:
        """Its images, checked."""
        decoded = self._call("read", lambda: self._source.read(request))
        return check_decoded(decoded, where=f"{self._label}: read()", image_size=request.image_size)

    def fetch(self, request: Request, target: Path) -> Path | None:
        """Where its files lie."""
        place = self._call("fetch", lambda: self._source.fetch(request, target))
        if not isinstance(place, Path | None):
            raise DataError(f"{self._label}: fetch() gave {type(place).__name__}; expected a pathlib.Path or None")
        return place

    def _call(self, method: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except SplitfedError:
            raise
        except Exception as error:
            raise DataError(f"{self._label}: {method}() raised {brief(error)}; mend the plug-in") from error


def _checked(point: EntryPoint, source: object) -> DatasetSource:
    if isinstance(source, type):
        raise UserError(f"{source.__name__} is a class; offer an instance of it")
    if not isinstance(source, DatasetSource):
        raise UserError(
            f"{source!r} is not an instance of {DatasetSource.__module__}.DatasetSource; derive it from that"
        )
    kind = type(source).__name__
    lacking = [attribute for attribute in ("name", "summary") if not is_text(getattr(source, attribute, None))]
    if lacking:
        raise UserError(f"{kind} lacks {', '.join(lacking)}; set each to one line of text")
    if source.name != point.name:
        raise UserError(f"{kind}.name is {source.name!r}; make it {point.name!r}")
    check_names(source)
    size = getattr(source, "default_image_size", "nothing")
    if size is not None and not (type(size) is int and size >= SMALLEST_SIZE):
        raise UserError(f"{kind}.default_image_size is {size!r}; set it to at least {SMALLEST_SIZE} pixels, or None")
    for flag in ("synthetic", "takes_path", "takes_attribute", "takes_selection"):
        if not isinstance(getattr(source, flag), bool):
            raise UserError(f"{kind}.{flag} is {getattr(source, flag)!r}; set it to True or False")
    return PluginSource(point, source)
