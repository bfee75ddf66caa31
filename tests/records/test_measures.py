"""Every number is declared once, in plain Python, and the docs say the same."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from splitfed.records.measures import ARROWS, MEASURES, Measure

ROOT = Path(__file__).parents[2]


def rows() -> dict[str, list[str]]:
    """The table of metrics in docs/evaluation.md: the cells of each row by name."""
    lines = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| name | in tables | meaning | range | better for the defender |") + 2
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    end = next(number for number, line in enumerate(lines[start:]) if not line.startswith("|"))
    return {row[0].strip("`"): row for row in cells[:end]}


def test_the_docs_say_what_is_declared() -> None:
    found = rows()
    assert list(found) == list(MEASURES)
    for name, m in MEASURES.items():
        assert found[name] == [f"`{name}`", m.label, m.meaning, m.range, f"{m.better} {m.arrow}"]


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda measure: str(measure.name))
def test_a_declaration_is_whole(measure: Measure) -> None:
    assert MEASURES[measure.name] is measure
    assert measure.low < measure.high
    assert math.isfinite(measure.low)
    assert measure.heading == f"{measure.label} {ARROWS[measure.better]}"
    assert measure.meaning
    assert not measure.meaning.endswith(".")
    assert measure.name.endswith(("_db", "_p99")) == (measure.unit == "dB") == ("dB" in measure.label)


def test_no_two_columns_have_one_heading() -> None:
    assert len({measure.label for measure in MEASURES.values()}) == len(MEASURES)


def test_the_declarations_load_nothing_heavy() -> None:
    code = (
        "import sys, splitfed.records.measures\n"
        "print([name for name in ('torch', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
