"""The data sets by name: load one, describe them all, fetch one for later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from splitfed.data.celeba import CelebA
from splitfed.data.checks import SMALLEST_SIZE
from splitfed.data.cifar10 import Cifar10
from splitfed.data.class_folders import MedicalMnist
from splitfed.data.dataset import Dataset
from splitfed.data.digits import Digits
from splitfed.data.folder import ImageFolder
from splitfed.data.idx import FASHION_MNIST, MNIST
from splitfed.data.locations import downloads_dir, looked_in, search_roots
from splitfed.data.phantoms import Phantoms
from splitfed.data.plugins import with_plugins
from splitfed.data.source import DatasetSource, Decoded, Progress, Request, Selection, Unavailable
from splitfed.errors import DataError
from splitfed.files import as_path, cache_dir
from splitfed.plugins import Registry

DATASETS: dict[str, DatasetSource] = {
    source.name: source
    for source in (MedicalMnist(), MNIST, FASHION_MNIST, Cifar10(), CelebA(), Digits(), Phantoms(), ImageFolder())
}
"""The data sets that ship with splitfed. Plug-ins are added by entry point."""


def load(
    name: str,
    *,
    image_size: int | None = None,
    data_root: Path | str | None = None,
    fallback: str | None = None,
    path: Path | str | None = None,
    attribute: str | None = None,
    selection: Selection | None = None,
    on_notice: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> Dataset:
    """All images of a data set, decoded once and then read from the cache.

    Looked for under ``data_root``, then ``$SPLITFED_DATA``, then the cache; else downloaded; else, where
    ``fallback`` names another data set, that one, announced by a banner.

    Args:
        name: a key of `DATASETS` or of a plug-in.
        image_size: edge in pixels to resize to; by default the data set's own.
        data_root: a folder to look in first.
        fallback: the data set that stands in where this one cannot be had.
        path: the one folder or archive to read, for data sets made of files; relative to the working folder or
            to one of the places above.
        attribute: what is to be told apart, for a data set that leaves the choice (``celeba``: ``"Smiling"``).
        selection: which files are read and what their folders mean, for a data set of the user's own files.
        on_notice: told that the fallback stands in, and why; to be shown so that no one can miss it.
        on_progress: told (what, done, total) while decoding or downloading.

    Raises:
        DataError: an unknown name, a size below 8, data that are missing, damaged or do not fit.
    """
    source = _source(name)
    stand_in = None if fallback is None else _source(fallback)
    if image_size is not None and image_size < SMALLEST_SIZE:
        raise DataError(f"{name}: image_size is {image_size}; expected at least {SMALLEST_SIZE} pixels")
    wanted = image_size if image_size is not None else source.default_image_size
    roots = search_roots(data_root)
    named = None if path is None else _resolve(source, Path(path), roots, root_named=data_root is not None)
    if attribute is not None and not source.takes_attribute:
        raise DataError(f"{name}: its classes are fixed, found attribute {attribute!r}; leave it out")
    chosen = selection or Selection()
    if chosen != Selection() and not source.takes_selection:
        raise DataError(
            f"{name}: its files and classes are fixed; leave out data.include, exclude, class_level, group_level and "
            'window, or read the files with data.name = "folder" and data.path'
        )
    report = on_progress or _silent
    try:
        decoded = source.read(Request(wanted, roots, cache_dir(), named, report, attribute, chosen))
    except Unavailable as missing:
        if stand_in is None:
            raise
        if on_notice is not None:
            on_notice(_banner(source, stand_in, missing))
        source = stand_in
        decoded = source.read(Request(wanted or source.default_image_size, roots, cache_dir(), None, report))
    return _dataset(source, decoded)


def _dataset(source: DatasetSource, decoded: Decoded) -> Dataset:
    return Dataset(
        name=source.name,
        pixels=decoded.pixels,
        labels=decoded.labels,
        classes=decoded.classes,
        synthetic=source.synthetic,
        note=decoded.note,
        caveat=decoded.caveat,
        groups=decoded.groups,
        parts=decoded.parts,
        found=decoded.found,
        location=decoded.location,
        known_digests=decoded.digests,
    )


def describe() -> list[tuple[str, str]]:
    """The name of every data set with one line on it, then the plug-ins that are broken, each with the reason."""
    return sources().describe(lambda source: source.summary)


def check_name(name: str) -> None:
    """Whether there is a data set of this name.

    Raises:
        DataError: nobody knows it, or its plug-in is broken.
    """
    _source(name)


def fetch(name: str, data_root: Path | str | None = None, *, on_progress: Progress | None = None) -> Path | None:
    """Have a data set's files on this machine, for later use without a network.

    Returns where they lie: found, or downloaded to ``data_root`` or else into the cache. None where there is
    nothing to fetch.

    Raises:
        DataError: an unknown name; as `Unavailable`, a download that failed.
    """
    source = _source(name)
    target = downloads_dir() if data_root is None else as_path(data_root)
    request = Request(None, search_roots(None), cache_dir(), None, on_progress or _silent)
    return source.fetch(request, target)


def _source(name: str) -> DatasetSource:
    if name in DATASETS:  # first, so that no plug-in is loaded for who does not use it
        return DATASETS[name]
    known = sources()
    if name not in known:
        raise DataError(known.why_not(name))
    return known[name]


def sources() -> Registry[DatasetSource]:
    """Every data set by name: our own, which no plug-in replaces, and plug-ins, which are checked in all they give."""
    return with_plugins(DATASETS)


def _resolve(source: DatasetSource, path: Path, roots: tuple[Path, ...], *, root_named: bool) -> Path:
    """The path that the user named, looked for from here and from the roots; from these first if one was named."""
    if not source.takes_path:
        raise DataError(f"{source.name}: takes no path, found {path}; leave it out")
    wanted = as_path(path)
    places = [start / wanted for start in ((*roots, Path()) if root_named else (Path(), *roots))]
    if wanted.is_absolute():  # moved or changed since, and as it was where the user says that data lie
        copies = [place for root in roots for place in (root / wanted.name, root) if place.name == wanted.name]
        places = [*copies, *places] if root_named else [*places, *copies]
    for place in places:
        if place.exists():
            return place
    raise DataError(
        f"{source.name}: expected a folder or archive at {path}, found nothing there; "
        f"looked from {Path.cwd()}, {looked_in(roots)}. Known data sets: {', '.join(sorted(DATASETS))}"
    )


def _banner(source: DatasetSource, stand_in: DatasetSource, missing: Unavailable) -> str:
    kind = "SYNTHETIC IMAGES" if stand_in.synthetic else "OTHER IMAGES"
    return f"{kind}: {stand_in.name} stands in for {source.name}, and no result is about {source.name}. {missing}"


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody wants to see."""
