"""`splitfed bench`: every benchmark that the command names is there."""

from __future__ import annotations

import pytest

from splitfed.cli.bench import BENCHMARKS
from splitfed.cli.main import main


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", name, "--help"])
    assert not end.value.code
    assert f"usage: splitfed bench {name}" in capsys.readouterr().out
