import pytest
import torch
from torch import nn
from torch.nn import functional

from predictor.networks.efficientnet_lite0 import (
    EfficientNetLite0,
    InvertedResidual,
    SameConv2d,
    same_padding,
)


@pytest.mark.parametrize(
    ("side", "kernel", "padding"),
    [(224, 3, (0, 1)), (56, 5, (1, 2)), (7, 3, (1, 1)), (7, 5, (2, 2)), (1, 1, (0, 0))],
)
def test_an_uneven_zero_goes_to_the_end(side: int, kernel: int, padding: tuple[int, int]) -> None:
    assert same_padding(side, kernel, stride=2) == padding


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 8), (7, 11)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_sides_are_rounded_up(height: int, width: int, kernel: int, stride: int) -> None:
    out = SameConv2d(1, 1, kernel, stride=stride, bias=False)(torch.zeros(1, 1, height, width))
    assert out.shape[2:] == (-(-height // stride), -(-width // stride))


def test_an_even_image_is_padded_below_and_to_the_right() -> None:
    convolution = SameConv2d(1, 1, 3, stride=2, bias=False)
    image = torch.randn(1, 1, 4, 4)
    padded = functional.pad(image, (0, 1, 0, 1))
    expected = functional.conv2d(padded, convolution.weight, stride=2)
    torch.testing.assert_close(convolution(image), expected)


def test_size_and_constants_are_those_of_the_published_network() -> None:
    network = EfficientNetLite0(classes=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_652_008
    assert len(network.blocks) == 16
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("width", "out", "stride", "added"), [(8, 8, 1, True), (8, 8, 2, False), (8, 12, 1, False)]
)
def test_the_input_is_added_where_the_shape_stays(
    width: int, out: int, stride: int, added: bool
) -> None:
    block = InvertedResidual(width, out, expansion=6, kernel=3, stride=stride).eval()
    last = block.layers[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    image = torch.rand(1, width, 6, 6)
    with torch.inference_mode():
        assert torch.equal(block(image), image if added else block(image) * 0)


def test_the_features_are_a_thirty_second_of_the_image() -> None:
    with torch.inference_mode():
        out = EfficientNetLite0().eval()(torch.zeros(1, 3, 224, 224))
    assert out["cam"].shape == (1, 4, 7, 7)
