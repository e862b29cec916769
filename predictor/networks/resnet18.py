"""ResNet-18 (He et al. 2016, arXiv:1512.03385) with torchvision's names under `backbone.`."""

from torch import Tensor, nn
from torch.nn import functional


class ResNet18(nn.Module):
    """ResNet-18 whose state dict has the keys `backbone.conv1.weight` … `backbone.fc.bias`."""

    def __init__(self, *, classes: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.backbone = Backbone(classes, channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits, features and class activation maps of normalised rows [N,C,H,W]."""
        x = self.backbone(x)  # [N,512,H/32,W/32]
        features = x.mean((2, 3))  # [N,512]
        fc = self.backbone.fc
        return {
            "logits": fc(features),  # [N,classes]
            "features": features,
            "cam": functional.conv2d(x, fc.weight[:, :, None, None]),  # [N,classes,h,w]
        }


class Backbone(nn.Module):
    """All layers; `forward` stops at the features, before pooling and `fc`."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, 64, stride=1)
        self.layer2 = stage(64, 128, stride=2)
        self.layer3 = stage(128, 256, stride=2)
        self.layer4 = stage(256, 512, stride=2)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # [N,64,H/4,W/4]
        x = self.layer1(x)  # [N,64,H/4,W/4]
        x = self.layer2(x)  # [N,128,H/8,W/8]
        x = self.layer3(x)  # [N,256,H/16,W/16]
        features: Tensor = self.layer4(x)  # [N,512,H/32,W/32]
        return features


def stage(channels: int, width: int, stride: int) -> nn.Sequential:
    """Two blocks; the first one strides."""
    return nn.Sequential(BasicBlock(channels, width, stride), BasicBlock(width, width, 1))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is projected where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))  # [N,width,H/stride,W/stride]
        x = self.bn2(self.conv2(x))  # [N,width,H/stride,W/stride]
        out: Tensor = self.relu(x + shortcut)
        return out
