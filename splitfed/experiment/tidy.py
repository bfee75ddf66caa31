"""What a finished cell keeps on disk: what a report, another attack or the same one again would need, and no more.

Kept are the AUDIT observations, the reconstructions of the strongest attack, the attacker's settings and log, and what
identifies its auxiliary images, which the run's own images give again. The final front lies in the cell's checkpoint.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

from splitfed.attacker.protocol import AUXILIARY, FRONTS
from splitfed.files import file_name, remove_drafts
from splitfed.records.auxiliary import AuxiliaryIdentity
from splitfed.records.record import save
from splitfed.types import Images, Phase


def tidy(cell: Path, auxiliary: AuxiliaryIdentity, *, strongest: str | None, keep_training: bool) -> None:
    """Delete the rest; what is gone already, or cannot be deleted, is passed over.

    Args:
        cell: the folder of a cell whose entry is in the results.
        auxiliary: what `identity` says of its auxiliary images.
        strongest: the attack whose reconstructions the pictures of the whole run show.
        keep_training: whether the fronts and the observations of TRAIN and TEST stay as well.

    Raises:
        UserError: the identity cannot be written; the images then stay.
    """
    images = cell / "knowledge" / AUXILIARY
    if images.is_file():
        save(images.with_suffix(".json"), auxiliary)
        _delete(images)
    if not keep_training:
        shutil.rmtree(cell / "knowledge" / FRONTS, ignore_errors=True)
        for phase in (Phase.TRAIN, Phase.TEST):
            _delete(*(cell / "observations").glob(f"{phase.name.lower()}.*.obs"))
    remove_drafts(cell / "attack")
    shown = None if strongest is None else f"{file_name(strongest)}.npz"
    _delete(*(path for path in (cell / "attack").glob("*.npz") if path.name != shown))


def identity(images: Images) -> AuxiliaryIdentity:
    """What says whether other images are the same ones."""
    digest = hashlib.blake2b(b"".join(images.content_hashes()), digest_size=16)
    return AuxiliaryIdentity(images=len(images), identity=digest.hexdigest())


def _delete(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
