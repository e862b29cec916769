"""EfficientNet-Lite0: EfficientNet (Tan and Le 2019, arXiv:1905.11946) for small devices.

Lite means: no squeeze-and-excitation, ReLU6 for swish, and a stem and a head of fixed width.
Padding and batch-norm constants are TensorFlow's, where its public weights come from.
"""

from torch import Tensor, nn
from torch.nn import functional

# (expansion, output channels, blocks, stride of the first block, kernel)
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, HEAD = 32, 1280


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0; 3.4 million weights with four classes."""

    def __init__(self, *, classes: int = 4, channels: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = convolution(channels, STEM, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        width = STEM
        for expansion, out, repeats, stride, kernel in STAGES:
            for index in range(repeats):
                first_stride = stride if index == 0 else 1
                blocks.append(InvertedResidual(width, out, expansion, kernel, first_stride))
                width = out
        self.blocks = nn.Sequential(*blocks)
        self.head = convolution(width, HEAD, kernel=1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(HEAD, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits, features and class activation maps of normalised rows [N,C,H,W]."""
        x = self.stem(x)  # [N,32,H/2,W/2]
        x = self.blocks(x)  # [N,320,H/32,W/32]
        x = self.head(x)  # [N,1280,H/32,W/32]
        features = x.mean((2, 3))  # [N,1280]
        return {
            "logits": self.fc(self.dropout(features)),  # [N,classes]
            "features": features,
            "cam": functional.conv2d(x, self.fc.weight[:, :, None, None]),  # [N,classes,h,w]
        }


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; the input is added where the shape allows it."""

    def __init__(self, width: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = width * expansion
        expand = [convolution(width, inner, kernel=1)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            convolution(inner, inner, kernel=kernel, stride=stride, groups=inner),
            SameConv2d(inner, out, 1, bias=False),
            norm(out),
        )
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)  # [N,out,H/stride,W/stride]
        return x + out if self.residual else out


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's `SAME` padding: output side = ceil(side / stride).

    What padding is needed depends on the side; an odd row or column goes to the bottom and right.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return functional.conv2d(
                x, self.weight, self.bias, padding=kernel // 2, groups=self.groups
            )
        top, bottom = same_padding(x.shape[2], kernel, stride)
        left, right = same_padding(x.shape[3], kernel, stride)
        padded = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(padded, self.weight, self.bias, stride=stride, groups=self.groups)


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one side, so that ceil(side / stride) outputs fit."""
    outputs = -(-side // stride)
    total = max((outputs - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def convolution(
    channels: int, width: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    return nn.Sequential(
        SameConv2d(channels, width, kernel, stride=stride, groups=groups, bias=False),
        norm(width),
        nn.ReLU6(inplace=True),
    )


def norm(width: int) -> nn.BatchNorm2d:
    """Batch norm with the constants of the published weights."""
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
