"""Whoever only looks at a run does not wait for torch."""

from __future__ import annotations

import subprocess
import sys


def test_the_views_and_the_store_do_without_torch_and_flower() -> None:
    code = (
        "import sys, splitfed.views.run, splitfed.records.grids, splitfed.records.schema\n"
        "from splitfed.views.report import report\nfrom splitfed.views.terminal import live, plain\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert {"torch", "flwr", "grpc"}.isdisjoint(done.stdout.split())
