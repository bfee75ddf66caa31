"""What other packages add by entry point: loaded, checked, and named in everything that goes wrong in them.

A plug-in that cannot be used costs only itself: it stands apart in its `Registry`, with the reason and the cure, and is
refused where somebody asks for it.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple, TypeVar

from splitfed.errors import PluginError, SplitfedError, UserError, unknown

RENAMED = {"penalty": "regularizer", "randomised": "randomized", "default_size": "default_image_size"}
"""What plug-ins for an earlier version call otherwise: what nobody asks for would be lost without a word."""

T = TypeVar("T")
Fault = Callable[[Any], str | None]
"""What is wrong with what a method gave, as "it gave ...; do ..."; None where nothing is."""


class Broken(NamedTuple):
    """A plug-in that cannot be used. ``why`` names it, what was found and the cure."""

    name: str
    why: str


class Registry(dict[str, T]):
    """What there is of a kind, by name; plug-ins that cannot be used are not among it but in ``broken``."""

    def __init__(self, kind: str, own: Mapping[str, T]) -> None:
        super().__init__(own)
        self.kind = kind
        """What these are, for messages: ``defense``."""
        self.broken: list[Broken] = []

    def take_over(self, other: Registry[T]) -> None:
        """Have what another registry has, its broken plug-ins included."""
        self.update(other)
        self.broken.extend(other.broken)

    def why_not(self, name: str, *, apart_from: Collection[str] = ()) -> str:
        """What to say about a name that is not in here: its plug-in is broken, or nobody knows it."""
        whys = [broken.why for broken in self.broken if broken.name == name]
        return "; ".join(whys) or unknown(self.kind, name, self.keys() - set(apart_from))

    def describe(self, line: Callable[[T], str]) -> list[tuple[str, str]]:
        """Every name with its line, then the broken plug-ins with their reasons."""
        return [(name, line(self[name])) for name in self] + [(name, f"BROKEN {why}") for name, why in self.broken]


def collect(kind: str, group: str, own: Mapping[str, T], check: Callable[[EntryPoint, object], T]) -> Registry[T]:
    """Our own and all plug-ins of an entry point group.

    Args:
        kind: what they are, for messages.
        group: such as ``splitfed.attacks``.
        own: this package's, which no plug-in replaces.
        check: what to make of a plug-in that was loaded; raises a `UserError` where it lacks something.
    """
    found = Registry(kind, own)
    points = entry_points(group=group)
    times = Counter(point.name for point in points)
    for point in points:
        try:
            if point.name in own:
                raise UserError(f"the name {point.name!r} is taken already; give the plug-in another one")
            if times[point.name] > 1:
                raise UserError(f"{times[point.name]} packages add this name; {uninstall(point, 'all but one')}")
            found[point.name] = check(point, _load(point))
        except UserError as error:
            found.broken.append(Broken(point.name, f"{where(point)}: {error}"))
    return found


def registry(
    kind: str,
    group: str,
    base: type[T],
    own: Iterable[type[T]],
    *,
    declares: Sequence[str],
    faults: Mapping[str, Fault] | None = None,
) -> Registry[type[T]]:
    """All classes of a kind by name: this package's, and those of the entry point group.

    Whatever a plug-in's methods raise, and whatever they give that is not what they should, is a `PluginError` with its
    name.

    Args:
        kind: what they are, for messages.
        group: such as ``splitfed.attacks``.
        base: what each class must derive from.
        own: this package's classes.
        declares: class attributes that must hold a text, ``name`` among them.
        faults: by method, what may be wrong with what it gives.
    """

    def check(point: EntryPoint, plugin: object) -> type[T]:
        sound = _check_class(point, plugin, base, declares)
        _name_faults(sound, base, f"{kind} {point.name} ({point.value})", faults or {})
        return sound

    return collect(kind, group, {_name(own_kind): own_kind for own_kind in own}, check)


def where(point: EntryPoint) -> str:
    """A plug-in for a message."""
    return f"plug-in {point.name} of {point.group} ({point.value})"


def uninstall(point: EntryPoint, what: str = "") -> str:
    """The way out that always is one: which package to do without."""
    return f"uninstall {what or (point.dist.name if point.dist else 'its package')}"


def of(*kinds: type) -> Fault:
    """What a method gave must be an instance of one of these."""
    wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
    return lambda given: None if isinstance(given, kinds) else f"gave {_kind(given)}; expected {wanted}"


def numbers(given: Any) -> str | None:
    """What a method gave must be a mapping of names to numbers."""
    if not isinstance(given, Mapping):
        return f"gave {_kind(given)}; expected a mapping of names to numbers"
    odd = [name for name, value in given.items() if not (isinstance(name, str) and isinstance(value, int | float))]
    return f"gave {odd[0]!r}: {_kind(given[odd[0]])}; expected a number: convert it with float()" if odd else None


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise UserError(
            f"cannot be loaded ({brief(error)}); install it anew with what it needs, or {uninstall(point)}"
        ) from error


def brief(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _check_class(point: EntryPoint, kind: object, base: type[T], declares: Sequence[str]) -> type[T]:
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise UserError(f"{kind!r} is not a class of {base.__module__}.{base.__name__}; derive it from that")
    lacking = [name for name in declares if not is_text(getattr(kind, name, None))]
    if lacking:
        raise UserError(f"{kind.__name__} lacks {', '.join(lacking)}; set each to one line of text")
    check_names(kind)
    if inspect.isabstract(kind):
        methods = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
        raise UserError(f"{kind.__name__} lacks the methods {methods}; define them")
    if _name(kind) != point.name:
        raise UserError(f"{kind.__name__}.name is {_name(kind)!r}; make it {point.name!r}")
    options, wanted = getattr(kind, "Options", None), getattr(base, "Options", object)
    if not (isinstance(options, type) and issubclass(options, wanted)):
        raise UserError(f"{kind.__name__}.Options is {options!r}; derive a class from splitfed.options.Options")
    return kind


def check_names(plugin: object) -> None:
    """Whether a class or an instance has nothing by the name of an earlier version.

    Raises:
        UserError: it has; the message says what it is called now.
    """
    kind = plugin if isinstance(plugin, type) else type(plugin)
    for old, new in RENAMED.items():
        if hasattr(plugin, old):
            raise UserError(f"{kind.__name__} has {old}, which nothing reads since splitfed 0.2; call it {new}")


def is_text(value: object) -> bool:
    """Whether something says anything."""
    return isinstance(value, str) and bool(value.strip())


def _name(kind: type) -> str:
    return str(getattr(kind, "name"))  # noqa: B009 - no base class has to declare it


def _name_faults(kind: type, base: type, label: str, faults: Mapping[str, Fault]) -> None:
    """Have the methods that a class brings itself say whose they are when they fail."""
    public = [name for name, value in vars(base).items() if inspect.isfunction(value) and not name.startswith("_")]
    for name in ("__init__", *public):
        method = inspect.getattr_static(kind, name)
        if inspect.isfunction(method) and not method.__module__.startswith("splitfed."):
            setattr(kind, name, _named(method, f"{label}: {name}()", faults.get(name)))


def _named(method: Callable[..., Any], label: str, fault: Fault | None) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = method(*args, **kwargs)
        except SplitfedError:
            raise
        except Exception as error:
            raise PluginError(f"{label} raised {brief(error)}{_place(error, method)}") from error
        wrong = fault(given) if fault is not None else None
        if wrong is not None:
            raise PluginError(f"{label} {wrong}")
        return given

    return call


def _place(error: Exception, method: Callable[..., Any]) -> str:
    """Where in the plug-in's own file it happened."""
    file = method.__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
