"""Slices made by code: they look like chest CT, show no patient and are the same everywhere.

One set serves the self-check, `doctor`, the tests and the benchmarks. Everything is painted with
one primitive, a soft-edged ellipse, from sums, products, square roots and random integers alone:
those come out alike on every platform, where sines and normal deviates may not.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from serving.card import InputSpec

Rows = npt.NDArray[np.uint8]

# Grey values of tissue in a wide window.
AIR, LUNG, FAT, MUSCLE, BLOOD, MARROW, BONE = 3.0, 30.0, 92.0, 134.0, 152.0, 182.0, 238.0
SIDES = (-1.0, 1.0)


class Canvas:
    """A slice being painted. Lengths are halves of the shorter side, (0, 0) is the middle."""

    def __init__(self, height: int, width: int) -> None:
        half = min(height, width) / 2
        self.grey = np.full((height, width), AIR)
        self.x = (np.arange(width) + 0.5 - width / 2) / half
        self.y = (np.arange(height) + 0.5 - height / 2) / half
        self.blur = 1.6 / half

    def ellipse(
        self, cx: float, cy: float, rx: float, ry: float, value: float, turn: float = 0.0
    ) -> None:
        """Paint an ellipse; `turn` is the tangent of half the angle from x to its rx axis."""
        reach = max(rx, ry) + self.blur
        top, bottom = np.searchsorted(self.y, [cy - reach, cy + reach])
        left, right = np.searchsorted(self.x, [cx - reach, cx + reach])
        x = self.x[left:right] - cx
        y = self.y[top:bottom, np.newaxis] - cy
        cosine, sine = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
        along, across = (x * cosine + y * sine) / rx, (y * cosine - x * sine) / ry
        inside = (1 - np.sqrt(along * along + across * across)) * min(rx, ry)
        share = np.clip(inside / self.blur + 0.5, 0, 1)
        patch = self.grey[top:bottom, left:right]
        patch += (value - patch) * share


def phantom(seed: int, height: int = 512, width: int = 512, noise: float = 7.0) -> Rows:
    """One axial slice as uint8 [height, width], spine below.

    The seed varies the build of the body, places vessels and one nodule, and draws the noise;
    `noise` is its standard deviation in grey values.
    """
    random = np.random.default_rng(seed)
    canvas = Canvas(height, width)

    def near(value: float, spread: float) -> float:
        return value + spread * (int(random.integers(-1000, 1001)) / 1000)

    _chest_wall(canvas, near)
    _lungs(canvas, near)
    _mediastinum(canvas, near)
    side = SIDES[int(random.integers(2))]
    size = near(0.045, 0.02)
    canvas.ellipse(side * near(0.43, 0.1), near(0.0, 0.22), size, size * near(0.9, 0.1), MUSCLE)
    return np.clip(canvas.grey + _grain(random, height, width, noise), 0, 255).astype(np.uint8)


def golden_rows(spec: InputSpec, count: int) -> list[Rows]:
    """Phantoms of seeds 0, 1, … painted at the network's own size: uint8 [H, W, 1] each."""
    return [phantom(seed, spec.height, spec.width)[..., np.newaxis] for seed in range(count)]


Near = Callable[[float, float], float]


def _chest_wall(canvas: Canvas, near: Near) -> None:
    """The table, the body with its fat and muscle, and the ribs."""
    canvas.ellipse(0, 0.55, 1.1, 0.30, 74)
    canvas.ellipse(0, 0.54, 1.1, 0.29, AIR)
    rx, ry = near(0.88, 0.03), near(0.64, 0.03)
    fat = near(0.05, 0.02)
    canvas.ellipse(0, 0, rx, ry, MUSCLE)
    canvas.ellipse(0, 0, rx - 0.012, ry - 0.012, FAT)
    canvas.ellipse(0, 0.01, rx - fat, ry - fat, MUSCLE)
    for side in SIDES:
        # Shoulder blade and the muscles around it, apart by streaks of fat.
        canvas.ellipse(side * 0.60, 0.36, 0.13, 0.022, FAT, -side * 0.35)
        canvas.ellipse(side * 0.56, 0.40, 0.12, 0.02, BONE, -side * 0.32)
        canvas.ellipse(side * 0.56, 0.40, 0.09, 0.008, MARROW, -side * 0.32)
        canvas.ellipse(side * 0.30, -0.50, 0.2, 0.012, FAT, side * 0.12)


def _lungs(canvas: Canvas, near: Near) -> None:
    """Both lungs with their vessels and the ribs around them."""
    for side in SIDES:
        width, height = near(0.27, 0.02), near(0.40, 0.02)
        canvas.ellipse(side * 0.42, 0.02, width, height, LUNG, -side * 0.06)
        canvas.ellipse(side * 0.36, 0.20, width * 0.9, height * 0.62, LUNG)
        canvas.ellipse(side * 0.33, -0.18, width * 0.75, height * 0.55, LUNG)
        for turn in (-1.6, -0.75, -0.28, 0.12, 0.55, 1.3):
            _rib(canvas, side, near(turn, 0.08))
        for _ in range(16):
            _vessel(canvas, side, near)
        for _ in range(45):
            size = near(0.007, 0.003)
            x, y = near(0.42, 0.19), near(0.02, 0.30)
            canvas.ellipse(side * x, y, size, size * near(1.0, 0.3), near(105.0, 35.0))


def _rib(canvas: Canvas, side: float, turn: float) -> None:
    """A rib cut aslant, where the chest wall stands at this half-angle tangent."""
    cosine, sine = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
    x, y = side * (0.40 + 0.345 * cosine), 0.02 + 0.47 * sine
    lean = side * (turn - 1) / (turn + 1) if abs(turn + 1) > 0.1 else 0.0
    canvas.ellipse(x, y, 0.075, 0.026, BONE, lean)
    canvas.ellipse(x, y, 0.058, 0.011, MARROW, lean)


def _vessel(canvas: Canvas, side: float, near: Near) -> None:
    """A vessel from the hilum outwards: ever thinner pieces, each turned a little."""
    x, y = side * 0.23, 0.03
    dx, dy, size = side * near(0.75, 0.4), near(0.0, 1.0), near(0.018, 0.006)
    for _ in range(5):
        length = np.sqrt(dx * dx + dy * dy)
        dx, dy = dx / length, dy / length
        # tan(a / 2) = sin a / (1 + cos a), of the axis that points to +x
        turn = dy / (1 + dx) if dx > 0 else -dy / (1 - dx)
        canvas.ellipse(x + 0.035 * dx, y + 0.035 * dy, 0.05, size, 60 + size * 4500, turn)
        x, y, size = x + 0.07 * dx, y + 0.07 * dy, size * 0.74
        dx, dy = near(dx, 0.35), near(dy, 0.35)


def _mediastinum(canvas: Canvas, near: Near) -> None:
    """What lies between the lungs: heart, great vessels, airways, breastbone and spine."""
    canvas.ellipse(0, 0.05, 0.16, 0.46, MUSCLE)
    canvas.ellipse(0.02, -0.36, 0.15, 0.10, FAT)
    canvas.ellipse(near(0.12, 0.03), near(-0.12, 0.03), 0.28, 0.21, BLOOD - 6, 0.25)
    canvas.ellipse(-0.10, -0.15, 0.14, 0.16, BLOOD - 8)
    canvas.ellipse(near(0.10, 0.02), -0.13, 0.11, 0.085, BLOOD + 18, 0.3)
    canvas.ellipse(near(0.13, 0.01), 0.23, 0.075, 0.072, BLOOD + 16)
    canvas.ellipse(0.02, 0.16, 0.035, 0.028, MUSCLE - 26)
    for side in SIDES:
        canvas.ellipse(side * 0.13, 0.06, 0.075, 0.055, FAT + 14)
        canvas.ellipse(side * 0.15, 0.05, 0.048, 0.036, BLOOD)
        canvas.ellipse(side * 0.095, 0.085, 0.036, 0.031, AIR)
        # The vertebra's processes and the muscles along the spine.
        canvas.ellipse(side * 0.13, 0.47, 0.12, 0.085, MUSCLE, side * 0.2)
        canvas.ellipse(side * 0.13, 0.42, 0.1, 0.028, BONE, side * 0.17)
        canvas.ellipse(side * 0.045, 0.49, 0.07, 0.02, BONE, side * 0.8)
    canvas.ellipse(0, -0.46, 0.11, 0.035, BONE)
    canvas.ellipse(0, -0.46, 0.09, 0.019, MARROW)
    canvas.ellipse(0, 0.33, 0.118, 0.095, BONE)
    canvas.ellipse(0, 0.33, 0.1, 0.078, MARROW)
    canvas.ellipse(0, 0.43, 0.055, 0.045, BONE)
    canvas.ellipse(0, 0.43, 0.042, 0.035, MUSCLE - 14)
    canvas.ellipse(0, 0.535, 0.018, 0.06, BONE)


def _grain(
    random: np.random.Generator, height: int, width: int, noise: float
) -> npt.NDArray[np.float64]:
    """Noise of the given standard deviation whose neighbours are alike, as reconstruction has it.

    Four integers from 0 to 255 are added, then three neighbours: near enough to normal.
    """
    drawn = random.integers(0, 256, size=(4, height, width), dtype=np.uint8).sum(0, dtype=np.int64)
    grain = 2 * drawn + np.roll(drawn, 1, axis=0) + np.roll(drawn, 1, axis=1)
    variance_of_one = (256 * 256 - 1) / 12
    scale = noise / float(np.sqrt(variance_of_one * 4 * (4 + 1 + 1)))
    return np.asarray((grain - 16 * 127.5) * scale)
