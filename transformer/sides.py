"""How large an image may be: its sides are compared before any pixel of it is decoded."""

from serving.errors import UnsuitableImage
from serving.settings import Limits


def require_sides(width: int, height: int, limits: Limits) -> None:
    """Refuse an image by what its header says.

    Raises:
        UnsuitableImage: a side outside the limits.
    """
    if min(width, height) < limits.min_side_px or max(width, height) > limits.max_side_px:
        raise UnsuitableImage(sides_text(f"{width} x {height}", limits))


def sides_text(size: str, limits: Limits) -> str:
    """What an answer says of a size that is refused."""
    return (
        f"the image has {size} pixels, each side must have "
        f"{limits.min_side_px} to {limits.max_side_px}: send the slice at its original size"
    )
