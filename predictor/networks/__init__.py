"""The networks by the name that a card gives them: a new architecture is one file and one line."""

from collections.abc import Callable

from torch import nn

from predictor.networks.custom_cnn import CustomCNN
from predictor.networks.efficientnet_lite0 import EfficientNetLite0
from predictor.networks.resnet18 import ResNet18

# Each maps normalised rows [N,C,H,W] to a dict: `logits` [N,classes]; `features` [N,D], what the
# last linear layer is given; and `cam` [N,classes,h,w], whose mean over h and w plus the bias
# is the logit, where the network ends in average pooling and one linear layer.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": ResNet18,
    "custom_cnn": CustomCNN,
    "efficientnet_lite0": EfficientNetLite0,
}
