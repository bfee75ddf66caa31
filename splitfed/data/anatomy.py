"""Six kinds of procedural radiograph, made to resemble the six classes of Medical MNIST.

Each function draws one class on a `Canvas`; what varies from picture to picture is what varies in the real
data: the level of the slice, the pose, the patient's build, the organs' sizes, the exposure. They are cartoons,
good for showing that the machinery works where there is no network, and for nothing medical.
"""

from __future__ import annotations

import numpy as np

from splitfed.data.canvas import Canvas, Field


def _ribs(
    canvas: Canvas, count: int, width: Field, height: Field, radius: Field, brightness: Field, shown: Field
) -> None:
    """Ribs in cross-section: bright spots along an ellipse, some missing, all where ``shown`` is 0."""
    for number in range(count):
        angle = 2 * np.pi * number / count + canvas.uniform(-0.12, 0.12)
        spot = canvas.ellipse(
            width * np.cos(angle), height * np.sin(angle), radius * canvas.uniform(1, 2), radius, angle + np.pi / 2
        )
        canvas.paint(spot * canvas.chance(0.8) * shown, brightness * canvas.uniform(0.75, 1))


def _spine(canvas: Canvas, y: Field, size: Field, brightness: Field) -> None:
    """A vertebra: body, canal and the three processes behind it."""
    canvas.paint(canvas.ellipse(0, y, size, size * 0.8), brightness)
    canvas.paint(canvas.bone((-size * 1.5, y + size), (size * 1.5, y + size), size * 0.3), brightness * 0.9)
    canvas.paint(canvas.bone((0 * size, y + size), (0 * size, y + size * 2), size * 0.3), brightness * 0.9)
    canvas.paint(canvas.ellipse(0, y + size, size * 0.35, size * 0.35), 0.45)


def abdomen_ct(canvas: Canvas) -> None:
    """Liver, spleen, kidneys and ribs at upper levels; the pelvis and the heads of the femurs at lower ones."""
    air = canvas.uniform(0.39, 0.42)
    canvas.image += air
    canvas.pose(shift=0.12, turn=0.08, stretch=0.06, warp=0.035)
    width, height = canvas.uniform(0.62, 0.95), canvas.uniform(0.45, 0.72)
    body, contrast = canvas.ellipse(0, 0, width, height), canvas.uniform(0.3, 1.5)
    canvas.paint(body, air + 0.03 * contrast + canvas.texture(7, 0.025) * contrast)
    bone = canvas.uniform(0.72, 1.0)
    low = canvas.chance(0.4)  # share of slices below the kidneys
    organ = (1 - low) * contrast
    right = canvas.ellipse(-0.45 * width, -0.2 * height, canvas.uniform(0.15, 0.5), canvas.uniform(0.12, 0.42), -0.4)
    canvas.add(right * body, organ * canvas.uniform(0.02, 0.17))
    left = canvas.ellipse(0.55 * width, -0.1 * height, canvas.uniform(0.08, 0.3), canvas.uniform(0.1, 0.35), 0.5)
    canvas.add(left * body, organ * canvas.uniform(-0.06, 0.15))
    for side in (-1, 1):
        kidney = canvas.ellipse(side * 0.42 * width, 0.3 * height, 0.12, canvas.uniform(0.08, 0.18), side * 0.6)
        canvas.add(kidney, organ * canvas.uniform(0, 0.3))
        hip = (side * canvas.uniform(0.3, 0.45), canvas.uniform(0.05, 0.2))
        wing = (side * canvas.uniform(0.45, 0.75) * width, canvas.uniform(-0.3, 0.1))
        canvas.paint(canvas.bone(hip, wing, canvas.uniform(0.04, 0.12)) * low, bone)
        canvas.paint(canvas.ellipse(*hip, 0.09, 0.09) * low * canvas.chance(0.5), bone * 0.85)
    _ribs(canvas, 11, width * 0.9, height * 0.9, canvas.uniform(0.03, 0.05), bone, canvas.chance(0.7) * (1 - low))
    _spine(canvas, canvas.uniform(0.25, 0.42), canvas.uniform(0.1, 0.15), bone)
    table = canvas.ring(0, -0.4, canvas.uniform(1.0, 1.5), canvas.uniform(1.15, 1.3), 0.04) * canvas.below(0.2)
    canvas.add(table, canvas.uniform(0, 0.06))


def breast_mri(canvas: Canvas) -> None:
    """Two bright breasts above a dark thorax, from nearly flat to filling the picture."""
    canvas.pose(shift=0.1, turn=0.06, stretch=0.08, warp=0.03)
    wall = canvas.uniform(-0.05, 0.5)
    fat = canvas.uniform(0.5, 0.9)
    reach, apart = canvas.uniform(0.05, 0.95), canvas.uniform(0.3, 0.5)
    gland = canvas.chance(0.6) * canvas.uniform(0.2, 0.9)
    for side in (-1, 1):
        size = canvas.uniform(0.85, 1.1)
        breast = canvas.ellipse(side * apart, wall, canvas.uniform(0.22, 0.42), reach * size + 0.1)
        canvas.paint(breast, fat + canvas.texture(9, 0.06))
        inner = canvas.ellipse(side * apart, wall - reach * 0.5, 0.17, reach * 0.4 * size + 0.03)
        canvas.add(inner, -gland * fat * np.clip(0.6 + canvas.texture(10, 0.5), 0, 1))
    skin = canvas.ellipse(0, wall + 0.3, canvas.uniform(0.75, 0.97), canvas.uniform(0.3, 0.42))
    canvas.paint(skin, fat * canvas.uniform(0.5, 1))
    muscle = canvas.uniform(0.08, 0.3)
    thorax = canvas.ellipse(0, wall + 0.42, canvas.uniform(0.6, 0.85), canvas.uniform(0.32, 0.45))
    canvas.paint(thorax, muscle + canvas.texture(10, 0.06))
    heart = canvas.ellipse(canvas.uniform(-0.1, 0.3), wall + 0.45, 0.2, canvas.uniform(0.1, 0.25))
    canvas.add(heart, canvas.uniform(-0.05, 0.25))
    canvas.paint(canvas.below(canvas.uniform(0.5, 0.75)), 0.0)  # the signal ends where the coil does


def chest_xray(canvas: Canvas) -> None:
    """Two dark lungs, the heart and spine between them, the bright belly below, shoulders above."""
    canvas.image += canvas.uniform(0.0, 0.3)
    canvas.pose(shift=0.12, turn=0.08, stretch=0.12, warp=0.04)
    build, white = canvas.uniform(0.75, 1.15), canvas.uniform(0.72, 1.0)
    torso = np.maximum(
        canvas.ellipse(0, 0.6, build, 1.5), canvas.ellipse(0, 0.1, build * 1.25, canvas.uniform(0.6, 0.9))
    )
    canvas.paint(torso, white * canvas.uniform(0.7, 0.95) + canvas.texture(3, 0.04))
    canvas.paint(canvas.bone((0.0, -1.2), (0.0, -0.6), canvas.uniform(0.2, 0.3)), white * 0.8)
    dark, top = canvas.uniform(0.05, 0.7), canvas.uniform(-0.25, 0.0)
    for side in (-1, 1):
        length = canvas.uniform(0.5, 0.75)
        lung = canvas.ellipse(side * 0.4 * build, top, 0.3 * canvas.uniform(0.75, 1.1), length, -side * 0.12)
        clear = canvas.uniform(0.75, 1.0)  # a shadow on one lung
        canvas.paint(lung * clear, white * dark + canvas.texture(8, 0.05))
        ribs = np.sin(canvas.y * canvas.uniform(16, 22) + side * canvas.x * 5 + canvas.uniform(0, 6.3))
        canvas.add(lung * ribs, canvas.uniform(0, 0.06))
        collar = canvas.bone((side * 0.1, -0.55), (side * 0.8 * build, canvas.uniform(-0.8, -0.6)), 0.04)
        canvas.add(collar, canvas.uniform(0, 0.15))
        dome = canvas.ellipse(side * 0.45 * build, 0.95, 0.55, canvas.uniform(0.35, 0.65))
        canvas.paint(dome, white * canvas.uniform(0.85, 1.0))
    heart = canvas.ellipse(canvas.uniform(0.05, 0.2), canvas.uniform(0.15, 0.35), canvas.uniform(0.2, 0.36), 0.3, 0.5)
    canvas.paint(heart, white * canvas.uniform(0.8, 1.0))
    canvas.paint(canvas.bone((0.0, -0.7), (0.0, 1.0), canvas.uniform(0.08, 0.15)), white * canvas.uniform(0.85, 1))
    haze = canvas.uniform(0.0, 0.5)  # an over-exposed picture has little contrast
    exposed = canvas.image * (1 - haze) + haze * canvas.uniform(0.35, 1.0)
    canvas.image = np.clip(exposed, 0, 1) ** canvas.uniform(0.6, 1.7)


def chest_ct(canvas: Canvas) -> None:
    """A faint slice: gray air, lung and tissue almost alike, specks of bone and vessel."""
    gray = canvas.uniform(0.495, 0.505)
    canvas.image += gray
    canvas.pose(shift=0.1, turn=0.06, stretch=0.05, warp=0.03)
    width, height = canvas.uniform(0.65, 0.92), canvas.uniform(0.45, 0.7)
    body = canvas.ellipse(0, 0, width, height)
    speck = canvas.uniform(0.0, 0.07)
    canvas.add(body, np.clip(canvas.texture(14, 1.0), 0, None) * speck)
    heart = canvas.ellipse(canvas.uniform(-0.1, 0.25), canvas.uniform(-0.25, 0.05), canvas.uniform(0.1, 0.35), 0.2, 0.5)
    canvas.add(heart, canvas.uniform(0.0, 0.12))
    liver = canvas.ellipse(-0.4 * width, -0.1, canvas.uniform(0.15, 0.4), canvas.uniform(0.15, 0.35))
    canvas.add(liver * canvas.chance(0.3), canvas.uniform(0.02, 0.08))
    bone = canvas.uniform(0.6, 0.95)
    _ribs(canvas, 15, width * 0.92, height * 0.92, canvas.uniform(0.025, 0.04), bone, canvas.chance(0.95))
    _spine(canvas, canvas.uniform(0.25, 0.4), canvas.uniform(0.07, 0.11), bone)
    canvas.add(canvas.below(canvas.uniform(0.7, 0.9)) * canvas.ring(0, -0.2, 1.2, 1.15, 0.03), 0.03)


def hand_xray(canvas: Canvas) -> None:
    """Five fingers with bright bones, palm and wrist, a marker beside them."""
    canvas.image += canvas.uniform(0.0, 0.18)
    marker = canvas.ellipse(canvas.uniform(-0.9, -0.65), canvas.uniform(-0.9, 0.8), 0.08, 0.1)
    canvas.add(marker, canvas.uniform(0, 0.4))
    canvas.pose(shift=0.14, turn=0.25, stretch=0.16, warp=0.03)
    flesh, bone = canvas.uniform(0.25, 0.55), canvas.uniform(0.2, 0.45)
    palm = canvas.ellipse(0.0, 0.2, canvas.uniform(0.3, 0.38), canvas.uniform(0.3, 0.36))
    wrist = canvas.bone((0.0, 0.3), (canvas.uniform(-0.25, 0.1), 1.3), canvas.uniform(0.2, 0.27))
    tissue, bones = np.maximum(palm, wrist), 0.7 * np.maximum(palm * 0.8, wrist)
    spread, long = canvas.uniform(0.75, 1.3), canvas.uniform(0.85, 1.12)
    # Little finger to thumb: angle from upright, length, and where on the palm it starts.
    for angle, length, x, y in (
        (-0.42, 0.55, -0.26, 0.05),
        (-0.16, 0.72, -0.12, -0.02),
        (0.05, 0.78, 0.03, -0.03),
        (0.26, 0.7, 0.18, 0.0),
        (0.95, 0.55, 0.25, 0.28),
    ):
        lean, reach = angle * spread + canvas.uniform(-0.07, 0.07), length * long * canvas.uniform(0.93, 1.07)
        tip = (x + np.sin(lean) * reach, y - np.cos(lean) * reach)
        tissue = np.maximum(tissue, canvas.bone((x, y), tip, canvas.uniform(0.085, 0.11), 0.75))
        bones = np.maximum(bones, canvas.bone((x, y), tip, 0.05, 0.7))
    canvas.add(tissue, flesh)
    canvas.add(bones, bone + canvas.texture(9, 0.06))


def head_ct(canvas: Canvas) -> None:
    """A slice of the head: a bright ring around gray brain; near the top a small disc, low down the face."""
    canvas.image += 0.1
    for side in (-1, 1):
        rest = canvas.bone((side * 0.85, 0.2), (side * canvas.uniform(0.6, 0.85), 1.0), 0.03)
        canvas.add(rest, canvas.uniform(0, 0.15))
    canvas.pose(shift=0.14, turn=0.3, stretch=0.08, warp=0.03)
    level = np.sqrt(canvas.uniform(0.02, 1.0))  # 0 at the crown, 1 at the widest slice
    width, height = 0.14 + 0.42 * level, 0.17 + 0.55 * level
    thickness = canvas.uniform(0.05, 0.12) + 0.1 * (1 - level)
    canvas.paint(canvas.ellipse(0, 0, width, height), canvas.uniform(0.85, 1.0))
    brain = canvas.ellipse(0, 0, np.maximum(width - thickness, 0.02), np.maximum(height - thickness, 0.02))
    gray = canvas.uniform(0.35, 0.6)
    canvas.paint(brain, gray + canvas.texture(9, 0.035))
    for side in (-1, 1):
        ventricle = canvas.ellipse(
            side * 0.09, canvas.uniform(-0.1, 0.05), canvas.uniform(0.02, 0.08), canvas.uniform(0.05, 0.22), side * 0.2
        )
        canvas.add(ventricle * brain * level, canvas.uniform(-0.2, 0.0))
    face = canvas.chance(0.35) * (level > 0.6)
    cavities = np.clip(canvas.texture(12, 0.3), -0.5, 0.5)
    canvas.add(canvas.ellipse(0, 0, width, height) * face, cavities)
    for side in (-1, 1):
        orbit = canvas.ellipse(side * 0.25, -height * 0.6, 0.16, 0.16)
        canvas.paint(orbit * face, canvas.uniform(0.1, 0.5))
