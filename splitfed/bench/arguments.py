"""What the commands of `splitfed bench` take."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is none; argparse prints it and ends with 2.

    >>> positive("3")
    3
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def not_negative(text: str) -> int:
    """A number of at least 0.

    Raises:
        argparse.ArgumentTypeError: it is none; argparse prints it and ends with 2.

    >>> not_negative("0")
    0
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {text!r}")
    return int(text)
