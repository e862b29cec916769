"""Pictures made by code that differ from each other far more than two slices do."""

import io

import numpy as np
from PIL import Image, ImageDraw

from serving.phantom import Canvas


def picture(seed: int, height: int = 120, width: int = 160, least: int = 20) -> Image.Image:
    """Grey ellipses at random, none darker than `least`."""
    random = np.random.default_rng(seed)
    canvas = Canvas(height, width)
    for _ in range(60):
        x, y = random.uniform(-1.2, 1.2), random.uniform(-0.9, 0.9)
        rx, ry = random.uniform(0.05, 0.35, 2)
        canvas.ellipse(x, y, rx, ry, random.uniform(least, 250), random.uniform(-1, 1))
    return Image.fromarray(np.clip(canvas.grey, least, 255).astype(np.uint8))


def compressed(image: Image.Image, quality: int = 30) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def resized(image: Image.Image, factor: float = 0.98) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)))


def scribbled(image: Image.Image) -> Image.Image:
    """Two strokes, one white and one black."""
    copy = image.copy()
    pen, width, height = ImageDraw.Draw(copy), image.width, image.height
    pen.line([(width * 0.1, height * 0.2), (width * 0.6, height * 0.35)], fill=255, width=3)
    pen.line([(width * 0.7, height * 0.5), (width * 0.8, height * 0.9)], fill=0, width=3)
    return copy


def brightened(image: Image.Image) -> Image.Image:
    return image.point([min(255, round(value * 0.8 + 30)) for value in range(256)])
