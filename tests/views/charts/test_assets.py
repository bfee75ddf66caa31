"""Modules become one script in the order of their needs, and nothing in them ends the element that they stand in."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import splitfed.views
from splitfed.views.charts import assets

VIEWS = Path(splitfed.views.__file__).parent
MODULES = sorted(path for path in VIEWS.rglob("*.js") if path.parent.name != "vendor")


def test_a_bundle_holds_each_module_once_and_after_what_it_needs() -> None:
    script = assets.bundle("report.js")
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    order = [script.index(f"function {name}(") for name in ("h", "drawLines")]
    order += [script.index("class FigureView"), script.index("new FigureView(")]
    assert order == sorted(order)
    assert script.count("function h(") == script.count("class FigureView") == 1


def test_no_two_modules_of_the_bundle_share_a_name() -> None:
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", assets.bundle("report.js"), re.MULTILINE)
    assert len(names) > 30
    assert sorted(names) == sorted(set(names))


def test_a_script_cannot_end_its_element() -> None:
    assert "</" not in assets.bundle("report.js")
    assert "</" not in assets.vendor_script()


def test_the_library_puts_the_style_into_a_drawing_that_the_policy_allows() -> None:
    library = (assets.FOLDER / "vendor" / "plot.umd.min.js").read_text(encoding="utf-8")
    (template,) = re.findall(r'append\("style"\)\.text\(`(:where\(\.\$\{c\}\) \{[^`]+)`', library)
    (name,) = re.findall(r"plot-[0-9a-f]{6}", library)
    style = template.replace("${c}", name).replace("\\n", "\n")
    assert f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}" == assets.STYLE_HASH


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_are_short_and_import_as_the_bundle_needs_it(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    imports = re.findall(r"^import .*", text, re.MULTILINE)
    assert all(re.fullmatch(r'import \{ [\w, ]+ \} from "\./(charts/)?\w+\.js";', line) for line in imports)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert "innerHTML" not in text.replace("outerHTML", "")


def test_modules_parse() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the modules are parsed by the browser alone")
    for module in MODULES:
        with module.open("rb") as text:
            command = [node, "--check", "--input-type=module"]
            done = subprocess.run(command, stdin=text, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{module}: {done.stderr}"
