"""Draw the picture of the leak in the README: originals, and what the attack made of their activations.

    python docs/make_leak_picture.py [--run RUN] [--out docs/leak.png]

It runs a small scenario on drawn stand-ins and takes the run's own comparison of cells. A run on real images is
refused: none belongs into the repository.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from PIL import Image

OVERRIDES = (
    "data.name=phantoms",
    "data.train=1500",
    "data.aux=4000",
    "data.test=600",
    "attack.decoder.max_epochs=20",
)
GRAYS = 64
"""Levels of gray in the file, which is then half as large; nobody sees the difference."""


def main() -> None:
    """Parse, run, draw."""
    parser = argparse.ArgumentParser(description="draw the picture of the leak in the README")
    parser.add_argument("--run", type=Path, help="a run on drawn images that is there already")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("leak.png"))
    options = parser.parse_args()
    if options.run is not None:
        draw(options.run, options.out)
    else:
        with tempfile.TemporaryDirectory() as folder:
            draw(run_small(Path(folder)), options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


def run_small(folder: Path) -> Path:
    """The main job on a few drawn images; about two minutes on two cores."""
    import splitfed

    splitfed.run(splitfed.load("medmnist_split", overrides=OVERRIDES), out=folder)
    (run,) = folder.iterdir()
    return run


def draw(run: Path, target: Path) -> None:
    """The run's comparison of its cells, as a small file.

    Raises:
        SystemExit: the run is on real images.
    """
    if not json.loads((run / "results.json").read_text(encoding="utf-8"))["dataset"]["synthetic"]:
        raise SystemExit(f"{run} is on real images, which do not belong into the repository; use drawn ones")
    with Image.open(run / "images" / "comparison.png") as picture:
        picture.convert("L").quantize(GRAYS).save(target, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
