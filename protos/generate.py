"""Regenerate `splitfed/wire/_pb` from the wire contract, or check that it is up to date.

python protos/generate.py            # write the stubs
python protos/generate.py --check    # compare; exit 1 with a diff if they differ
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT / "protos" / "splitfed" / "v1" / "split.proto"
PACKAGE = CONTRACT.parent.relative_to(ROOT / "protos")
STUBS = ROOT / "splitfed" / "wire" / "_pb"
NAMES = ("split_pb2.py", "split_pb2.pyi")


def generate(folder: Path) -> None:
    """Write the message classes and their types into ``folder``; services are registered by hand."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as temporary:
        arguments = [f"--proto_path={ROOT / 'protos'}", f"--python_out={temporary}", f"--pyi_out={temporary}"]
        if protoc.main(["protoc", *arguments, str(CONTRACT)]) != 0:
            raise SystemExit(f"{CONTRACT}: protoc refused it; its message is above")
        for name in NAMES:
            shutil.copy(Path(temporary) / PACKAGE / name, folder / name)


def differences(committed: Path, fresh: Path) -> list[str]:
    """A unified diff from the committed stubs to fresh ones; empty when they agree."""
    lines: list[str] = []
    for name in NAMES:
        old = (committed / name).read_text().splitlines() if (committed / name).exists() else []
        new = (fresh / name).read_text().splitlines()
        lines += difflib.unified_diff(old, new, f"committed/{name}", f"generated/{name}", lineterm="")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Write the stubs, or with ``--check`` compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 with a diff if different")
    if not parser.parse_args(argv).check:
        generate(STUBS)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        diff = differences(STUBS, Path(folder))
    if diff:
        diff.append("stubs are out of date: run python protos/generate.py")
    sys.stdout.writelines(f"{line}\n" for line in diff)
    return 1 if diff else 0


if __name__ == "__main__":
    raise SystemExit(main())
