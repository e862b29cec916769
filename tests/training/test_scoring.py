import numpy as np
import pytest
import torch
from PIL import Image

from predictor.checkpoint import build_network
from serving.card import Card, InputSpec
from tests.training.chest import grey, plant
from training.cue_swaps import CUE_SWAPS, choose_donors
from training.outcomes import AS_IS
from training.pictures import Picture, read_pictures
from training.renderings import crop, gamma
from training.samples import find_files
from training.scoring import SWAP, outcomes_of
from transformer.preprocess import preprocess
from transformer.statistics import Statistics

CARD = Card("custom_cnn", InputSpec(64, 64), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(CARD).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder = tmp_path_factory.mktemp("data")
    plant(folder)
    return [*read_pictures(find_files(folder)).pictures]


def expected(
    network: torch.nn.Module, image: Image.Image
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    row = torch.from_numpy(np.array(image.resize((64, 64), Image.Resampling.BILINEAR)))
    mean, std = (torch.tensor(part)[:, None, None] for part in (CARD.mean, CARD.std))
    normal = (row.permute(2, 0, 1).float() / 255 - mean) / std
    logits: np.ndarray[tuple[int], np.dtype[np.float32]] = network(normal[None])["logits"][
        0
    ].numpy()
    return logits


def test_every_variant_is_answered_as_the_service_would(
    network: torch.nn.Module, pictures: list[Picture]
) -> None:
    renderings = {"dark": lambda image: gamma(image, 2), "cut": lambda image: crop(image, 0.1)}
    found = outcomes_of(network, CARD, pictures, renderings)
    assert found.variants() == [AS_IS, "dark", "cut"]
    assert len(found) == 3 * len(pictures)
    for picture in pictures[:3]:
        image = Image.open(picture.path)
        own = found.where(found.picture == picture.digest)
        assert own.label.tolist() == [picture.label] * 3
        for name, rendered in (
            (AS_IS, image),
            ("dark", gamma(image, 2)),
            ("cut", crop(image, 0.1)),
        ):
            logits = own.of(name).logits[0]
            np.testing.assert_allclose(logits, expected(network, rendered), atol=1e-4)
    assert np.isnan(found.distance).all()
    assert set(found.reasons.tolist()) == {""}


def test_coloured_and_grey_variants_stay_in_order(
    network: torch.nn.Module, pictures: list[Picture]
) -> None:
    def coloured(image: Image.Image) -> Image.Image:
        return Image.merge(
            "RGB", (image.getchannel(0), image.getchannel(1), gamma(image, 3).getchannel(2))
        )

    renderings = {"coloured": coloured, "dark": lambda image: gamma(image, 2)}
    found = outcomes_of(network, CARD, pictures[:1], renderings)
    image = Image.open(pictures[0].path)
    assert preprocess(coloured(image), CARD.input).shape[2] == 3
    for name, rendered in (
        (AS_IS, image),
        ("coloured", coloured(image)),
        ("dark", gamma(image, 2)),
    ):
        np.testing.assert_allclose(found.of(name).logits[0], expected(network, rendered), atol=1e-4)


def test_donors_give_every_swap(network: torch.nn.Module, pictures: list[Picture]) -> None:
    donors = choose_donors(pictures)
    without = pictures[0].digest
    donors.pop(without)
    found = outcomes_of(network, CARD, pictures, {}, donors)
    assert found.variants() == [AS_IS, *(SWAP + name for name in CUE_SWAPS)]
    assert found.where(found.picture == without).variants() == [AS_IS]
    other = found.where(found.picture == pictures[1].digest)
    swapped = CUE_SWAPS["contrast"](
        Image.open(pictures[1].path), Image.open(donors[pictures[1].digest])
    )
    np.testing.assert_allclose(
        other.of("swap_contrast").logits[0], expected(network, swapped), atol=1e-4
    )


def test_what_is_none_or_would_be_refused_is_left_out(
    network: torch.nn.Module, pictures: list[Picture]
) -> None:
    renderings = {"none": lambda _: None, "flat": lambda image: Image.new("RGB", image.size)}
    assert outcomes_of(network, CARD, pictures, renderings).variants() == [AS_IS]


def test_the_input_gate_judges_every_variant(
    network: torch.nn.Module, pictures: list[Picture]
) -> None:
    def judge(statistics: Statistics) -> list[str]:
        return [f"mean {statistics.mean:.3f}", f"width {statistics.width}"]

    found = outcomes_of(network, CARD, pictures, {"cut": lambda i: crop(i, 0.1)}, judge=judge)
    for picture in pictures:
        own, image = found.where(found.picture == picture.digest), Image.open(picture.path)
        for name, variant in ((AS_IS, image), ("cut", crop(image, 0.1))):
            expected = f"mean {grey(variant).mean():.3f},width {variant.width}"
            assert own.of(name).reasons.tolist() == [expected]
