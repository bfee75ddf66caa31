"""Numbers as records keep them: one that is not finite has no JSON form and is stored as null."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import PlainSerializer


def _or_null(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[float | None, PlainSerializer(_or_null, when_used="json")]
Interval = tuple[Number, Number]
