"""Pictures in every variant through the service's own code: decode, statistics, rows, engine."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor, nn

from predictor.engine import Engine, Scores
from serving.card import Card
from serving.errors import UnsuitableImage
from serving.settings import Limits, Predictor
from training.cue_swaps import CUE_SWAPS
from training.outcomes import AS_IS, Outcomes, joined
from training.pictures import Picture
from transformer.decode import Slice, decode
from transformer.preprocess import preprocess
from transformer.statistics import Statistics, require_contrast, summarise

Rendering = Callable[[Image.Image], Image.Image | None]
# Says what the input gate objects to in a slice.
Judge = Callable[[Statistics], Iterable[str]]

SWAP = "swap_"


def outcomes_of(
    network: nn.Module,
    card: Card,
    pictures: Iterable[Picture],
    renderings: Mapping[str, Rendering],
    donors: Mapping[str, Path] | None = None,
    judge: Judge = lambda _: (),
    bank: Tensor | None = None,
) -> Outcomes:
    """Logits of every picture as it is, in every rendering and, with a donor, in every cue swap.

    Args:
        network: in eval mode, as `predictor.checkpoint.load_weights` gives it.
        pictures: files that the service accepts, at least one.
        renderings: a variant's name to what is done; one that gives None is left out.
        donors: the digest of a picture to the file whose cues it is given.
        bank: features of the training slices, for the distance to them.

    A variant that the service would refuse is left out too.
    """
    engine = Engine(card, network, Predictor(), bank=bank)
    parts = []
    for picture in pictures:
        image = _decoded(picture.path).image
        variants = {AS_IS: image} | dict(_rendered(image, renderings))
        if donors and picture.digest in donors:
            variants |= _swapped(image, _decoded(donors[picture.digest]).image)
        parts.append(_answers(engine, card, picture, variants, judge))
    return joined(parts)


def _decoded(path: Path) -> Slice:
    return decode(path.read_bytes(), Limits())


def _rendered(
    image: Image.Image, renderings: Mapping[str, Rendering]
) -> Iterator[tuple[str, Image.Image]]:
    for name, rendering in renderings.items():
        variant = rendering(image)
        if variant is not None:
            yield name, variant


def _swapped(image: Image.Image, donor: Image.Image) -> dict[str, Image.Image]:
    return {SWAP + name: swap(image, donor) for name, swap in CUE_SWAPS.items()}


def _answers(
    engine: Engine,
    card: Card,
    picture: Picture,
    variants: Mapping[str, Image.Image],
    judge: Judge,
) -> Outcomes:
    names, rows, reasons = [], [], []
    for name, image in variants.items():
        ct_slice = Slice(image, image.height, image.width)
        statistics = summarise(ct_slice)
        try:
            require_contrast(statistics, Limits())
        except UnsuitableImage:
            continue
        names.append(name)
        rows.append(preprocess(ct_slice.image, card.input))
        reasons.append(",".join(judge(statistics)))
    scores = _run(engine, rows)
    count = len(names)
    return Outcomes(
        picture=np.array([picture.digest] * count),
        label=np.full(count, picture.label),
        fold=np.full(count, picture.fold),
        variant=np.array(names),
        logits=np.stack([score.logits for score in scores]),
        distance=np.array([score.distance for score in scores], np.float32),
        reasons=np.array(reasons),
    )


def _run(engine: Engine, rows: list[npt.NDArray[np.uint8]]) -> list[Scores]:
    """Scores in the order of the rows; rows of one and of three channels go by themselves."""
    scores: dict[int, Scores] = {}
    for channels in {row.shape[2] for row in rows}:
        at = [index for index, row in enumerate(rows) if row.shape[2] == channels]
        scores |= zip(at, engine.run([rows[index] for index in at]), strict=True)
    return [scores[index] for index in range(len(rows))]
