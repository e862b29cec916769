"""Images of real size for every measurement: phantoms with the noise of a CT as PNG, 512 x 512."""

import io

from PIL import Image

from serving.phantom import phantom

COUNT = 16


def benchmark_images(count: int = COUNT) -> list[bytes]:
    """PNG files of about 160 KB each; no two are alike."""
    return [png(seed) for seed in range(count)]


def png(seed: int) -> bytes:
    """One phantom as a PNG file."""
    target = io.BytesIO()
    Image.fromarray(phantom(seed)).save(target, "PNG")
    return target.getvalue()
