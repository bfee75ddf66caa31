"""The public surface is what it says it is, and costs nothing until it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import splitfed
from splitfed import errors

PACKAGE = Path(splitfed.__file__).parent


def seen_by_type_checkers() -> set[str]:
    """The names that the package imports for type checkers, and those that it defines."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    blocks = [node.body for node in tree.body if isinstance(node, ast.If)]
    imports = [item for body in blocks for item in body if isinstance(item, ast.ImportFrom)]
    imported = {alias.name for item in imports if str(item.module).startswith("splitfed.") for alias in item.names}
    return imported | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_exported_name_is_there_and_is_listed() -> None:
    assert len(set(splitfed.__all__)) == len(splitfed.__all__)
    for name in splitfed.__all__:
        assert getattr(splitfed, name).__name__ == name
    assert set(splitfed.__all__) <= set(dir(splitfed))


def test_nothing_public_is_missing() -> None:
    for_annotations_only = {"Subscriber"}
    public = {name for name in seen_by_type_checkers() - for_annotations_only if not name.startswith("_")}
    assert set(splitfed.__all__) == public
    family = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert family <= set(splitfed.__all__)


def test_what_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(splitfed, "sound")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, splitfed; dir(splitfed); splitfed.UserError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert {"torch", "numpy", "pydantic", "flwr", "rich"}.isdisjoint(done.stdout.split())
