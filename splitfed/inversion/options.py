"""What a scenario may say of the Plug & Play attack. Defaults are the published constants where there are such.

Published: Struppek et al. 2022 (arXiv 2201.12179) and their code's settings for CelebA.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from splitfed.inversion.oracle import Access
from splitfed.options import Options


class PlugAndPlayOptions(Options):
    """Options of `plug_and_play`."""

    access: Access = "query"
    """What the classifier answers: probabilities, labels alone, or gradients as the method was published."""
    loss: Literal["poincare", "max_margin", "cross_entropy"] = "poincare"
    """What is minimized over latents; without a part in ``label`` access."""
    pool_size: int = Field(default=5000, ge=1)
    """Latents drawn from the prior, one pool for all classes (published: 2,000 or 5,000)."""
    candidates: int = Field(default=200, ge=1)
    """Latents of the pool that are kept for each class and optimized."""
    kept: int = Field(default=50, ge=1)
    """Images that a class has in the end; no more than candidates."""
    mirror: bool = True
    """Whether the pool is judged by each image and its mirror image. Turn it off for what has a left and a right, such
    as digits, and `final_flip` with it."""
    steps: int = Field(default=70, ge=1)
    """Of Adam (published: 50, 70, or 100)."""
    learning_rate: float = Field(default=0.005, gt=0)
    """Of Adam, in units of latents; a tenth from 60 % of the steps on, a hundredth from 80 %."""
    betas: tuple[float, float] = (0.1, 0.1)
    """Of Adam: almost no memory."""
    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Share of the image's area in the random crops that are optimized."""
    crop_ratio: tuple[float, float] = (1.0, 1.0)
    """Their ratios of width to height, as shares of the image's own."""
    transforms: int = Field(default=100, ge=1)
    """Random transforms of each image, over which the final selection takes the mean."""
    final_scale: tuple[float, float] = (0.5, 0.9)
    """Share of the area in these."""
    final_ratio: tuple[float, float] = (0.8, 1.2)
    """Their ratios of width to height, as shares of the image's own."""
    final_flip: float = Field(default=0.5, ge=0, le=1)
    """How often these are mirrored."""
    hold: bool = True
    """Whether latents are held inside the prior's 99 % radius. Without, the search finds what fools the classifier."""
    query_budget: int | None = Field(default=None, ge=1)
    """Images that the classifier may be asked about, gradients included; None for no limit. They are counted anyway."""
    batch_size: int = Field(default=64, ge=1)
    """Images that are synthesized and asked about at a time."""

    surrogate_width: int = Field(default=512, ge=1)
    """Hidden units in each layer of the network that is taught what the classifier answered (``query`` access)."""
    surrogate_epochs: int = Field(default=20, ge=1)
    """Passes over the answers when it is first taught; a quarter of it whenever there are new ones."""
    surrogate_rounds: int = Field(default=2, ge=1)
    """The steps are taken in so many parts; before each but the first the classifier is asked about the images found so
    far, and the network taught anew."""

    sphere_points: int = Field(default=32, ge=1)
    """Points on the sphere around a latent that are asked about (``label`` access; published: 32)."""
    sphere_radius: float = Field(default=2.0, gt=0)
    """Of the first sphere, in units of the prior's spread (published: 2)."""
    sphere_growth: float = Field(default=1.3, gt=1)
    """By how much a sphere grows that lies in the class as a whole (published: 1.3)."""
    label_steps: int = Field(default=30, ge=1)
    """Spheres around each latent (published: up to 1,000 without growth; each costs sphere_points + 1 queries)."""

    @model_validator(mode="after")
    def _fits(self) -> PlugAndPlayOptions:
        if self.kept > self.candidates:
            raise ValueError(f"kept ({self.kept}) must be no more than candidates ({self.candidates})")
        if self.candidates > self.pool_size:
            raise ValueError(f"candidates ({self.candidates}) must be no more than pool_size ({self.pool_size})")
        for name in ("crop_scale", "final_scale"):
            least, largest = getattr(self, name)
            if not 0 < least <= largest <= 1:
                raise ValueError(f"{name} is ({least:g}, {largest:g}); expected two shares in (0, 1], the lesser first")
        for name in ("crop_ratio", "final_ratio"):
            least, largest = getattr(self, name)
            if not 0 < least <= largest:
                raise ValueError(f"{name} is ({least:g}, {largest:g}); expected two positive ratios, the lesser first")
        return self
