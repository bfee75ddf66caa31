"""The lists of what there is."""

from __future__ import annotations

import pytest

from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.defenses import DEFENSES


def test_listings_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, names in (
        ("defenses", sorted(DEFENSES)),
        ("attacks", ["ridge", "decoder", "Against noise:"]),
        ("generators", ["mixture", "stylegan", "digiface"]),
        ("scenarios", ["medmnist_split"]),
        ("datasets", ["medical_mnist", "phantoms", "digits"]),
    ):
        assert main([kind]) == exit_codes.OK
        out = capsys.readouterr().out
        assert all(name in out for name in names)
