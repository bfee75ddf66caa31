"""What all clients hold alike, where nobody knows it but they."""

from __future__ import annotations

from collections.abc import Mapping

from splitfed.errors import SplitfedError
from splitfed.federation.roster import Introduction
from splitfed.types import ImageShape


def agreed(said: Mapping[int, Introduction]) -> tuple[ImageShape, int]:
    """The shape of one image, and how many classes there are.

    Args:
        said: what each client says of itself, by its number; at least one.

    Raises:
        SplitfedError: no network fits them all, and which client holds what.
    """
    held = {client: (introduction.shape, introduction.classes) for client, introduction in sorted(said.items())}
    shape, classes = next(iter(held.values()))
    listed = "; ".join(f"client {client} {_in_words(*what)}" for client, what in held.items())
    if len(set(held.values())) > 1:
        raise SplitfedError(
            f"the clients hold images that do not fit together: {listed}. Give all of them the same classes "
            "(images.classes of a client) and the scenario one data.image_size, then go on with --resume"
        )
    if min(shape) < 1 or classes < 2:
        raise SplitfedError(
            f"want images of at least 2 classes: {listed}. Name them all in images.classes of each client"
        )
    return shape, classes


def _in_words(shape: ImageShape, classes: int) -> str:
    return f"{shape.channels}×{shape.height}×{shape.width}, {classes} classes"
