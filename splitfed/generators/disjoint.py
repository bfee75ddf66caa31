"""Whether a generator was trained on the victims' images: then it shows them without any attack, and is refused.

Only who holds the victims' images can tell: the lab, never the attacker.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from splitfed.data.clusters import near_duplicates
from splitfed.errors import UserError
from splitfed.generators.base import GeneratorProvenance
from splitfed.types import NEAR_DB, Images


class Overlap(NamedTuple):
    """What a generator's training images and the victims' have in common.

    Attributes:
        known: whether it is known what the generator was trained on; if not, the counts say nothing.
        equal: training images that equal a victim's at 8 bits.
        near: training images that nearly equal a victim's (`types.NEAR_DB`), directly or by way of others; None
            where that was not looked at.
        groups: groups, such as patients or identities, with training images and victims' images.
    """

    known: bool
    equal: int
    near: int | None
    groups: int

    @property
    def detail(self) -> str:
        """In one line."""
        if not self.known:
            return "it is not known which images the generator was trained on; nothing was compared"
        near = "" if self.near is None else f", {self.near} nearly equal one (PSNR of {NEAR_DB:g} dB or more)"
        return f"{self.equal} of the generator's training images equal a victim's{near}; {self.groups} groups in common"


def overlap(provenance: GeneratorProvenance, victims: Images, *, compare_near: bool = True) -> Overlap:
    """Compare what a generator was trained on with the victims' images.

    Args:
        provenance: of the generator.
        victims: the private images.
        compare_near: look for near-duplicates, too, where the training images are at hand; takes seconds for thousands.
    """
    hashes = provenance.trained_on
    equal = sum(each in hashes for each in set(victims.content_hashes()))
    images = provenance.images
    if images is None:
        return Overlap(bool(hashes), equal, None, 0)
    near = _near(images, victims) if compare_near and images.shape == victims.shape else None
    both = images.groups is not None and victims.groups is not None
    groups = set(images.groups.tolist()) & set(victims.groups.tolist()) if both else set()  # type: ignore[union-attr]
    return Overlap(True, equal, near, len(groups))


def refuse_victims(name: str, found: Overlap, *, near_is_overlap: bool) -> None:
    """Refuse a generator that was trained on the victims' images.

    Args:
        name: of the generator.
        found: of `overlap`.
        near_is_overlap: whether near-duplicates count. They do where the data were split to have none on two sides
            (`data.split = "near_duplicate"`); elsewhere the attacker's own images may have some by the nature of the
            data, and they are reported.

    Raises:
        UserError: it was.
    """
    if found.equal or found.groups or (near_is_overlap and found.near):
        raise UserError(
            f"generator {name}: it was trained on the victims' images ({found.detail}); what it shows would be no "
            "leak of the classifier. Train it on other images, or take another generator"
        )


def _near(images: Images, victims: Images) -> int:
    """Training images in a cluster with a victim's."""
    pixels = np.concatenate([_at_8_bits(victims), _at_8_bits(images)])
    clusters = near_duplicates(pixels, lambda _what, _done, _total: None)
    return int(np.isin(clusters[len(victims) :], clusters[: len(victims)]).sum())


def _at_8_bits(images: Images) -> np.ndarray:
    return (images.pixels * 255).round().clamp(0, 255).byte().cpu().numpy()
