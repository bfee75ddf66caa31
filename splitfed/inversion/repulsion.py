"""Away from the boundary: what is left where the classifier says nothing but a label.

Around a latent inside the wanted class a sphere is asked about; the latent moves away from the points that lie outside
the class, and where none does the sphere grows. What remains is the latent with the widest sphere inside the class.

Source: Kahla, Chen, Just and Jia 2022 (arXiv 2203.05573), BREP-MI; repulsion alone, steps of a third of the radius,
at most 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from splitfed.generators import Prior
from splitfed.inversion.options import PlugAndPlayOptions

LONGEST_STEP = 3.0


class RepulsionStep(NamedTuple):
    """Where the latents stand: after how many spheres, (B, ...), and the radius of each sphere, (B,)."""

    number: int
    latents: Tensor
    radius: Tensor


@torch.no_grad()
def repel(
    latents: Tensor,
    inside: Callable[[Tensor], Tensor],
    prior: Prior,
    options: PlugAndPlayOptions,
    draws: torch.Generator,
) -> Iterator[RepulsionStep]:
    """The latents before the first sphere and after each.

    Args:
        latents: to start from, (B, ...); those outside the class never move.
        inside: latents to whether the classifier calls their images by the wanted class, bool, (B,).
        prior: where latents lie. Its spread is the unit of radius and step in each coordinate.
        options: the spheres, and whether latents are held.
        draws: of the points.
    """
    rows = latents.flatten(1)
    spread = prior.spread
    radius = torch.full((len(rows),), options.sphere_radius)

    def held(points: Tensor) -> Tensor:
        return prior.hold(points) if options.hold else points

    def are_inside(points: Tensor) -> Tensor:
        return inside(points.view(-1, *latents.shape[1:]))

    yield RepulsionStep(0, latents.clone(), radius.clone())
    home = are_inside(rows)
    for number in range(options.label_steps):
        directions = torch.randn(len(rows), options.sphere_points, rows.shape[1], generator=draws)
        directions = directions / directions.norm(dim=2, keepdim=True)
        points = rows[:, None] + radius[:, None, None] * spread * directions
        outside = ~are_inside(held(points.flatten(0, 1))).view(len(rows), -1)
        away = -(outside[..., None] * directions).mean(dim=1)
        moved = held(rows + (radius / 3).clamp_max(LONGEST_STEP)[:, None] * spread * away)
        crossed = outside.any(dim=1)
        follows = home & crossed & are_inside(moved)
        rows = torch.where(follows[:, None], moved, rows)
        wider = (radius * options.sphere_growth).clamp_max(max(prior.radius, options.sphere_radius))
        radius = torch.where(home & ~crossed, wider, radius)
        yield RepulsionStep(number + 1, rows.view_as(latents).clone(), radius.clone())
