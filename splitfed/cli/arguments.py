"""What the commands' parsers share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from splitfed import files
from splitfed.errors import UserError

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
    """Where a command adds its parser."""


def path(text: str) -> Path:
    """An argument that names a file or folder; ~ is the home directory.

    Raises:
        argparse.ArgumentTypeError: it means nothing.
    """
    try:
        return files.as_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
