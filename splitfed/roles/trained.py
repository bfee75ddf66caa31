"""A trained cell as a file: what the server hands to the lab."""

from __future__ import annotations

from dataclasses import fields
from io import BytesIO
from typing import Any

import torch

from splitfed.errors import SplitfedError
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult

MODULES = ("front", "back")


def to_bytes(result: FederationResult) -> bytes:
    """All of it: the modules' weights, and numbers."""
    entries = {entry.name: getattr(result, entry.name) for entry in fields(result)}
    entries |= {name: entries[name].state_dict() for name in MODULES}
    entries["audited"] = dict(result.audited)
    content = BytesIO()
    torch.save(entries, content)
    return content.getvalue()


def from_bytes(content: bytes, job: Job) -> FederationResult:
    """What `to_bytes` made of a result of this job. Only weights and numbers are read; nothing in it is run.

    Raises:
        SplitfedError: it is no result of this job.
    """
    try:
        found: dict[str, Any] = torch.load(BytesIO(content), weights_only=True)
        front, back = job.front(), job.back()
        front.load_state_dict(found.pop("front"))
        back.load_state_dict(found.pop("back"))
        return FederationResult(front=front.eval(), back=back, **found)
    except Exception as error:  # PyTorch raises half a dozen kinds, by what it meets
        raise SplitfedError(f"the server's result of {job.run} cannot be read: {error}") from error
