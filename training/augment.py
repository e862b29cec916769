"""Small changes that leave a slice's class as it is, drawn anew for every row of a batch."""

import math

import torch
from torch import Tensor
from torch.nn import functional

TURN_DEGREES = 10.0
SCALE = 0.15
SHIFT = 0.06
BRIGHTNESS = 0.15
CONTRAST = 0.25


def augment(images: Tensor) -> Tensor:
    """Flip, turn, scale, shift, and change brightness and contrast.

    Args:
        images: float [N,C,H,W] from 0 to 1.

    Returns:
        The same shape and range; what comes in from outside the image is black.
    """
    count = len(images)
    grid = functional.affine_grid(placements(count), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)
    gain = 1 + spread(count, CONTRAST)[:, None, None, None]
    offset = spread(count, BRIGHTNESS)[:, None, None, None]
    middle = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - middle) * gain + middle + offset).clamp(0, 1)


def placements(count: int) -> Tensor:
    """One random affine matrix a row: [count,2,3]."""
    angle = spread(count, math.radians(TURN_DEGREES))
    scale = 1 + spread(count, SCALE)
    flip = torch.randint(0, 2, (count,)) * 2 - 1
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    first = torch.stack((cos * flip, -sin, spread(count, SHIFT)), 1)
    second = torch.stack((sin * flip, cos, spread(count, SHIFT)), 1)
    return torch.stack((first, second), 1)


def spread(count: int, limit: float) -> Tensor:
    """Uniform numbers between -limit and limit."""
    return (torch.rand(count) * 2 - 1) * limit
