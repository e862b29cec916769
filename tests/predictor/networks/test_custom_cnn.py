import pytest
import torch
from torch import nn

from predictor.networks.custom_cnn import CustomCNN


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def test_defaults_are_four_blocks_and_512_hidden_for_224_pixels() -> None:
    found = shapes(CustomCNN())
    convolutions = [found[f"features.{index}.weight"] for index in (0, 4, 8, 12)]
    assert convolutions == [[32, 3, 3, 3], [64, 32, 3, 3], [128, 64, 3, 3], [256, 128, 3, 3]]
    assert [found[f"features.{index}.running_mean"] for index in (1, 5, 9, 13)] == [
        [32],
        [64],
        [128],
        [256],
    ]
    assert found["classifier.1.weight"] == [512, 256 * 14 * 14]
    assert found["classifier.4.weight"] == [4, 512]


def test_without_batch_norm_the_layers_move_up() -> None:
    found = shapes(CustomCNN(hidden_dims=[8, 16], batch_norm=False, image_size=32, fc_hidden=5))
    assert list(found) == [
        f"{layer}.{kind}"
        for layer in ("features.0", "features.3", "classifier.1", "classifier.4")
        for kind in ("weight", "bias")
    ]
    assert found["classifier.1.weight"] == [5, 16 * 8 * 8]


@pytest.mark.parametrize("image_size", [64, 67])
def test_a_side_that_does_not_divide_is_rounded_down(image_size: int) -> None:
    network = CustomCNN(hidden_dims=[4, 4, 4], image_size=image_size, fc_hidden=8).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, image_size, image_size))["logits"].shape == (1, 4)


def test_more_blocks_than_the_image_can_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="3 blocks leave nothing of 7 pixels"):
        CustomCNN(hidden_dims=[4, 4, 4], image_size=7)
