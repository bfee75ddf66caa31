"""What tests with a real Ray share."""

from __future__ import annotations

from typing import Any

import pytest

RAY_WARNINGS = [
    # Ray leaves handles of its own processes open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def ray_or_skip() -> Any:
    """The module `ray`, set as a run sets it."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from splitfed.runners.ray_package import load_ray

    return load_ray()
