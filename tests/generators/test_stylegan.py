"""A StyleGAN from its file as a generator: sizes, crops, channels, classes of its own, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from splitfed.errors import UserError
from splitfed.generators import ImageGenerator, build, images_of
from splitfed.generators.disjoint import overlap, refuse_victims
from splitfed.types import Images
from tests.attacks.worlds import digits
from tests.generators.nvidia_files import stylegan2, stylegan3, write

OWN = digits()[:100]


def images_of_edge(edge: int, channels: int = 1) -> Images:
    return Images(torch.zeros(4, channels, edge, edge), torch.zeros(4).long(), ("a",))


def loaded(path: Path, auxiliary: Images = OWN, **options: object) -> ImageGenerator:
    generator = build("stylegan", {"file": str(path), **options})
    generator.prepare(auxiliary, torch.Generator().manual_seed(0))
    return generator


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "net.pkl", stylegan2("skip", channels=1, classes=0, clamp=None, edge=16))


@pytest.mark.parametrize("edge", [8, 16, 28])
def test_images_have_the_attackers_size(edge: int, file: Path) -> None:
    generator = loaded(file, images_of_edge(edge))
    assert tuple(images_of(generator, generator.sample(3, torch.Generator())).shape) == (3, 1, edge, edge)


def test_at_its_own_size_it_shows_its_own_pixels(file: Path) -> None:
    generator = loaded(file, images_of_edge(16))
    w = generator.sample(2, torch.Generator().manual_seed(0))
    raw: torch.Tensor = generator._synthesis(w)  # type: ignore[attr-defined]
    torch.testing.assert_close(generator.synthesize(w), ((raw + 1) / 2).clamp(0, 1))


def test_a_crop_keeps_the_center(file: Path) -> None:
    whole, cropped = loaded(file, images_of_edge(16)), loaded(file, images_of_edge(8), center_crop=0.5)
    w = whole.sample(2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(cropped.synthesize(w), whole.synthesize(w)[..., 4:12, 4:12])


def test_truncation_brings_latents_together(file: Path) -> None:
    spreads = [float(loaded(file, truncation=psi).prior.spread.mean()) for psi in (0.25, 0.5, 1.0)]
    assert spreads[1] == pytest.approx(2 * spreads[0], rel=1e-3)
    assert spreads[2] == pytest.approx(2 * spreads[1], rel=1e-3)


def test_classes_of_its_own_are_drawn_by_lot(tmp_path: Path) -> None:
    path = write(tmp_path / "net.pkl", stylegan2("resnet", channels=1, classes=3, clamp=None))
    generator = loaded(path)
    assert not generator.labeled, "they are not the victims' classes"
    assert images_of(generator, generator.sample(9, torch.Generator())).shape == (9, 1, 8, 8)


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "net.pkl", stylegan3(channels=3, kernel=3, radial=False))
    with pytest.raises(UserError, match="makes images of 3 channels, the data set's have 1"):
        loaded(path)
    assert loaded(path, images_of_edge(16, 3)).shape.channels == 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda net: net.modules.pop("mapping"),
        lambda net: net.modules["synthesis"].modules["b8"].modules["conv0"].parameters.pop("weight"),
        lambda net: net.modules["synthesis"].modules["b8"].modules["conv0"].buffer("noise_const", 3, 3),
        lambda net: net.modules["synthesis"].modules["b8"].attributes.update(architecture="upside down"),
        lambda net: net.modules["synthesis"].modules["b8"].modules["conv0"].attributes.update(up=3),
        lambda net: net.modules["mapping"].modules["fc0"].attributes.update(activation="eval"),
        lambda net: net.modules["mapping"].buffers.update(w_avg=torch.full((5,), torch.nan)),
        lambda net: net.modules["mapping"].attributes.update(num_layers="many"),
        lambda net: net.modules["synthesis"].attributes.update(img_channels=float("nan")),
    ],
)
def test_a_network_that_does_not_fit_together_is_refused(spoil: Any, tmp_path: Path) -> None:
    net = stylegan2("skip", channels=1, classes=0, clamp=None)
    spoil(net)
    path = write(tmp_path / "net.pkl", net)
    with pytest.raises(UserError, match="expected a generator of StyleGAN2-ADA or StyleGAN3, found Generator, which"):
        loaded(path)


def test_it_says_what_it_is(file: Path) -> None:
    said = loaded(file).provenance()
    assert said.origin.startswith("net.pkl, a StyleGAN2 of 16×16 pixels, sha256 ")
    assert "research and evaluation" in said.license
    assert not overlap(said, OWN).known


def test_with_the_hashes_of_what_it_was_trained_on_it_can_be_refused(file: Path, tmp_path: Path) -> None:
    hashes = tmp_path / "hashes.txt"
    hashes.write_text("\n".join(each.hex() for each in OWN.content_hashes()[:5]), encoding="utf-8")
    found = overlap(loaded(file, hashes=str(hashes)).provenance(), OWN)
    assert (found.known, found.equal) == (True, 5)
    with pytest.raises(UserError, match="trained on the victims' images"):
        refuse_victims("stylegan", found, near_is_overlap=False)


@pytest.mark.parametrize("text", ["xyz", "0123", None])
def test_hashes_that_are_none_are_refused(text: str | None, file: Path, tmp_path: Path) -> None:
    hashes = tmp_path / "hashes.txt"
    if text is not None:
        hashes.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"hashes\.txt: expected"):
        loaded(file, hashes=str(hashes))
