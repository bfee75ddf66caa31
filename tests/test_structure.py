"""How the house is built: no import goes in a circle, no module is too long, everything stands in a room, and one name
means one class. Which room may know which is import-linter's to prove (pyproject.toml)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import splitfed

PACKAGE = Path(splitfed.__file__).parent
GENERATED = "_pb"
MOST_LINES = 300
REASON = "# over 300 lines because "
"""Begins a line that says why, among the first `REASON_WITHIN` of a longer module."""
REASON_WITHIN = 10
GROUND = {
    *("__init__.py", "__main__.py", "errors.py", "files.py", "options.py"),
    *("plugins.py", "py.typed", "seeding.py", "stopping.py", "types.py"),
}
"""All files that may stand at the root of the package."""


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file of every module; a package is its ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# no circles


def import_graph(package: Path) -> dict[str, set[str]]:
    """Module -> the modules of this package that it imports anywhere: at its top, in a function, for type checkers."""
    known = modules(package)
    return {name: set(_imports(name, path, known)) - {name} for name, path in known.items()}


def _imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """A name taken from a package is an import of the module of that name, or of the package itself."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, name, is_package=path.name == "__init__.py")
            for alias in node.names:
                yield from [each for each in (f"{source}.{alias.name}", source) if each in known][:1]


def _absolute(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    """Where this statement imports from, the dots of a relative import resolved."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other, each the next and the last the first; empty where there are none."""
    done: set[str] = set()

    def visit(name: str, above: list[str]) -> list[str]:
        if name in above:
            return above[above.index(name) :]
        if name in done:
            return []
        for imported in sorted(graph[name]):
            if circle := visit(imported, [*above, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), [])


def told(circle: list[str]) -> str:
    return " -> ".join([*circle, *circle[:1]])


def test_no_import_goes_in_a_circle() -> None:
    graph = import_graph(PACKAGE)
    assert len(graph) > 200
    assert told(circle_in(graph)) == ""


# short modules


def too_long(package: Path) -> list[str]:
    """Modules over the limit that do not say why."""
    found = []
    for name, path in modules(package).items():
        lines = path.read_text(encoding="utf-8").splitlines()
        reasoned = any(line.startswith(REASON) and line[len(REASON) :].strip() for line in lines[:REASON_WITHIN])
        if len(lines) > MOST_LINES and not reasoned and GENERATED not in path.parts:
            found.append(f"{name}: {len(lines)} lines; split it, or say why not: {REASON}...")
    return found


def test_no_module_is_long_without_a_reason() -> None:
    assert too_long(PACKAGE) == []


# rooms


def homeless(package: Path) -> list[str]:
    """Files at the root that belong into a room."""
    return sorted(path.name for path in package.iterdir() if path.is_file() and path.name not in GROUND)


def test_only_the_ground_stands_at_the_root() -> None:
    assert homeless(PACKAGE) == []
    assert all((PACKAGE / name).is_file() for name in GROUND)


# names


def shared_names(package: Path) -> dict[str, list[str]]:
    """Public classes at the top of several modules, with these."""
    found = defaultdict(list)
    for name, path in modules(package).items():
        if GENERATED in path.parts:
            continue
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name)
    return {name: places for name, places in found.items() if len(places) > 1}


def test_one_name_means_one_class() -> None:
    assert shared_names(PACKAGE) == {}


# the guards themselves


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package in which all is well."""
    files = {
        "__init__.py": "",
        "errors.py": "class Wrong(Exception):\n    pass\n",
        "low/__init__.py": "from house.low.ground import number\n",
        "low/ground.py": "from house.errors import Wrong\n\nnumber = Wrong\n",
        "high/__init__.py": "",
        "high/roof.py": "from house import low\nfrom . import wall\n",
        "high/wall.py": "class _Brick:\n    class Options:\n        pass\n",
        "low/stone.py": "class _Brick:\n    class Options:\n        pass\n",
    }
    for name, text in files.items():
        written(tmp_path / "house" / name, text)
    return tmp_path / "house"


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_where_all_is_well_nothing_is_found(house: Path) -> None:
    assert import_graph(house)["house.high.roof"] == {"house.low", "house.high.wall"}
    assert (circle_in(import_graph(house)), too_long(house), homeless(house), shared_names(house)) == ([], [], [], {})


@pytest.mark.parametrize(
    "upwards",
    [
        "from house.high import roof",
        "import house.high.roof",
        "from ..high.roof import low",
        "def late():\n    from house.high.roof import low",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.high import roof",
        "try:\n    import house.high.roof as above\nexcept ImportError:\n    above = None",
    ],
)
def test_a_circle_is_found_and_shown_wherever_it_is_closed(house: Path, upwards: str) -> None:
    written(house / "low/ground.py", f"{upwards}\n")
    assert told(circle_in(import_graph(house))) == "house.high.roof -> house.low -> house.low.ground -> house.high.roof"


def test_a_long_module_is_found_unless_it_says_why_where_it_begins(house: Path) -> None:
    written(house / "low/ground.py", "x = 1\n" * MOST_LINES)
    assert too_long(house) == []
    written(house / "low/ground.py", "x = 1\n" * (MOST_LINES + 1))
    assert too_long(house) == [f"house.low.ground: 301 lines; split it, or say why not: {REASON}..."]
    written(house / "low/ground.py", f'"""Long."""\n{REASON}it is one table\n' + "x = 1\n" * MOST_LINES)
    assert too_long(house) == []
    written(house / "low/ground.py", f'"""Long."""\n{REASON}\n' + "x = 1\n" * MOST_LINES)
    assert too_long(house)
    written(house / "low/ground.py", "x = 1\n" * MOST_LINES + f"{REASON}it is one table\n")
    assert too_long(house)


def test_what_is_generated_may_be_long(house: Path) -> None:
    written(house / "low" / GENERATED / "stubs.py", "class Wrong:\n    pass\n" * MOST_LINES)
    assert (too_long(house), shared_names(house)) == ([], {})


def test_a_file_without_a_room_is_found(house: Path) -> None:
    written(house / "helpers.py", "")
    assert homeless(house) == ["helpers.py"]


def test_two_classes_of_one_name_are_found(house: Path) -> None:
    written(house / "high/wall.py", "class Wrong:\n    pass\n")
    assert shared_names(house) == {"Wrong": ["house.errors", "house.high.wall"]}
