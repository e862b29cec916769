"""Changes that leave a slice's class as it is, drawn anew for every row of a batch.

They take away what tells the source of a slice instead of its tissue: size and sharpness, borders,
proportions, the window, the table, strokes of a pen. In the public data the normals come from other
sources than the cancers, and copies of a slice differ in just these ways.

Every change takes and gives float rows [N,1,H,W] from 0 to 1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Change = Callable[[Tensor], Tensor]

TURN_DEGREES = 12.0
# How far the whole, and one side against the other, are stretched, in natural logarithms.
SCALE, STRETCH = 0.25, 0.12
SHIFT = 0.1
BRIGHTNESS, CONTRAST, GAMMA = 0.1, 0.25, 0.35
NOISE = 0.04
LEAST_DETAIL = 0.35
# Grey profiles are compared on every fourth pixel across and down.
STRIDE = 4


def augment(images: Tensor, side: int) -> Tensor:
    """A random view of each row, `side` pixels wide and high."""
    moved = some(0.1, border, move(images, side))
    graded = some(0.7, regrade, some(0.4, exchange_greys, moved))
    drawn_on = some(0.1, scribble, some(0.2, add_table, graded))
    return some(0.2, add_noise, some(0.2, blur, some(0.2, cover, drawn_on))).clamp(0, 1)


def some(share: float, change: Change, images: Tensor) -> Tensor:
    """Change a random share of the rows."""
    chosen = torch.rand(len(images)) < share
    if not chosen.any():
        return images
    changed = images.clone()
    changed[chosen] = change(images[chosen])
    return changed


def move(images: Tensor, side: int) -> Tensor:
    """Flip, turn, stretch and shift; what comes in from outside is black."""
    places = placements(len(images))
    grid = functional.affine_grid(places, [len(images), 1, side, side], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def placements(count: int) -> Tensor:
    """One random affine matrix a row, from places in the result to the source: [count,2,3]."""
    angle = spread(count, math.radians(TURN_DEGREES))
    scale, stretch = spread(count, SCALE), spread(count, STRETCH)
    across, down = torch.exp(scale + stretch), torch.exp(scale - stretch)
    flip = torch.randint(0, 2, (count,)) * 2 - 1
    cos, sin = torch.cos(angle), torch.sin(angle)
    first = torch.stack((cos * across * flip, -sin * across, spread(count, SHIFT)), 1)
    second = torch.stack((sin * down * flip, cos * down, spread(count, SHIFT)), 1)
    return torch.stack((first, second), 1)


def border(images: Tensor) -> Tensor:
    """A frame of one grey along the edges."""
    count, _, height, width = images.shape
    left, top = uniform(count, 0, 0.12), uniform(count, 0, 0.12)
    x, y = coordinates(height, width)
    outside = ((x - 0.5).abs() > 0.5 - left) | ((y - 0.5).abs() > 0.5 - top)
    grey = torch.where(torch.rand(count, 1, 1) < 0.7, uniform(count, 0, 0.1), uniform(count, 0, 1))
    return torch.where(outside, grey, images[:, 0])[:, None]


def exchange_greys(images: Tensor) -> Tensor:
    """Each row's grey profile, part of the way or all of it, to that of another row."""
    sample = images[:, 0, ::STRIDE, ::STRIDE].flatten(1)
    own = sample.sort(1).values + torch.arange(sample.shape[1]) * 1e-6  # strictly increasing
    wanted = own.roll(1, 0)
    flat = images.flatten(1).contiguous()
    above = torch.searchsorted(own, flat).clamp(1, own.shape[1] - 1)
    low, high = own.gather(1, above - 1), own.gather(1, above)
    part = ((flat - low) / (high - low)).clamp(0, 1)
    matched = wanted.gather(1, above - 1).lerp(wanted.gather(1, above), part)
    weight = uniform(len(images), 0.3, 1)[:, :, 0]
    return flat.lerp(matched, weight).view_as(images)


def regrade(images: Tensor) -> Tensor:
    """Another gamma, contrast and brightness: another window, another screen."""
    count = len(images)
    curved = images.clamp(1e-4, 1) ** torch.exp(spread(count, GAMMA))[:, None, None, None]
    gain = (1 + spread(count, CONTRAST))[:, None, None, None]
    offset = spread(count, BRIGHTNESS)[:, None, None, None]
    # Air stays near black in half of the rows, as a window that begins below it has it.
    pivot = curved.mean((1, 2, 3), keepdim=True) * torch.randint(0, 2, (count, 1, 1, 1))
    return ((curved - pivot) * gain + pivot + offset * (pivot > 0)).clamp(0, 1)


def add_table(images: Tensor) -> Tensor:
    """A bright curved line below, as a scanner's table shows."""
    count, _, height, width = images.shape
    x, y = coordinates(height, width)
    bend = uniform(count, -0.1, 0.35)
    line = uniform(count, 0.85, 1.02) - bend * (x - uniform(count, 0.35, 0.65)) ** 2 * 4
    near = (y - line).abs() < uniform(count, 0.004, 0.014)
    return torch.where(near, uniform(count, 0.2, 0.8), images[:, 0])[:, None]


def scribble(images: Tensor) -> Tensor:
    """One to three straight strokes of one grey."""
    count, _, height, width = images.shape
    x, y = coordinates(height, width)
    grey, thick = uniform(count, 0, 1), uniform(count, 0.004, 0.012)
    drawn = images[:, 0]
    for stroke in range(3):
        ax, ay, bx, by = (uniform(count, 0.05, 0.95) for _ in range(4))
        dx, dy = bx - ax, by - ay
        along = ((x - ax) * dx + (y - ay) * dy) / (dx**2 + dy**2 + 1e-6)
        nearest = along.clamp(0, 1)
        off = (x - ax - nearest * dx) ** 2 + (y - ay - nearest * dy) ** 2
        on = (off < thick**2) & (torch.rand(count, 1, 1) < 1 / (stroke + 1))
        drawn = torch.where(on, grey, drawn)
    return drawn[:, None]


def cover(images: Tensor) -> Tensor:
    """One rectangle of one grey: no single spot decides."""
    count, _, height, width = images.shape
    x, y = coordinates(height, width)
    inside = ((x - uniform(count, 0.1, 0.9)).abs() < uniform(count, 0.05, 0.18)) & (
        (y - uniform(count, 0.1, 0.9)).abs() < uniform(count, 0.05, 0.18)
    )
    return torch.where(inside, uniform(count, 0, 0.8), images[:, 0])[:, None]


def blur(images: Tensor) -> Tensor:
    """Detail lost, as in a picture that was smaller once: one factor for the rows of a batch."""
    side = round(images.shape[-1] * float(torch.empty(()).uniform_(LEAST_DETAIL, 0.9)))
    small = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return functional.interpolate(small, images.shape[-2:], mode="bilinear")


def add_noise(images: Tensor) -> Tensor:
    """Independent noise for every pixel, as strong as a row's own draw."""
    return images + torch.randn_like(images) * uniform(len(images), 0, NOISE)[:, None]


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Places of pixels from 0 to 1: x [1,1,W] and y [1,H,1]."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    return x[None, None, :], y[None, :, None]


def spread(count: int, limit: float) -> Tensor:
    """Uniform numbers [count] between -limit and limit."""
    return (torch.rand(count) * 2 - 1) * limit


def uniform(count: int, low: float, high: float) -> Tensor:
    """Uniform numbers [count,1,1]."""
    return low + torch.rand(count, 1, 1) * (high - low)
