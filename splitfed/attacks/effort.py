"""How much work the attacks of a scenario may put in: one rule for all that can stop early.

An attack names the options that limit its work (`Attack.caps`). At effort ``standard`` they are as its `Options` have
them, at ``quick`` a quarter of that, and at ``full`` they limit nothing any more: a training ends at its plateau. What
a scenario says of an attack itself comes before all of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from splitfed.attacks.base import Attack

Effort = Literal["quick", "standard", "full"]
QUICK_PART = 4
"""One part in so many of the standard work is quick."""


def with_effort(kind: type[Attack], options: Mapping[str, Any], effort: Effort) -> dict[str, Any]:
    """The options of an attack at this effort; those that are given stay as they are.

    >>> from splitfed.attacks.decoder import Decoder
    >>> with_effort(Decoder, {"width": 64}, "quick")
    {'max_epochs': 12, 'width': 64}
    >>> with_effort(Decoder, {"max_epochs": 3}, "full")
    {'max_epochs': 3}
    """
    if effort == "standard":
        return dict(options)
    fields = kind.Options.model_fields
    quick = {name: max(1, fields[name].default // QUICK_PART) for name in kind.caps}
    return {**(quick if effort == "quick" else kind.caps), **options}
