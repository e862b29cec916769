"""A plain convolutional network: blocks of convolution and pooling, then two linear layers."""

from collections.abc import Sequence

from torch import Tensor, nn


class CustomCNN(nn.Module):
    """One block for each of `hidden_dims`; every block halves the side, rounding down.

    The first linear layer fixes the input: square, `image_size` pixels a side. The head is not
    average pooling, so there are no class activation maps.
    """

    def __init__(
        self,
        *,
        classes: int = 4,
        channels: int = 3,
        image_size: int = 224,
        hidden_dims: Sequence[int] = (32, 64, 128, 256),
        fc_hidden: int = 512,
        dropout: float = 0.3,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        side = image_size // 2 ** len(hidden_dims)
        if side < 1:
            raise ValueError(f"{len(hidden_dims)} blocks leave nothing of {image_size} pixels")
        layers: list[nn.Module] = []
        width = channels
        for hidden in hidden_dims:
            layers += block(width, hidden, batch_norm)
            width = hidden
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * side * side, fc_hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(fc_hidden, classes),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits and features of normalised rows [N,C,image_size,image_size]."""
        x = self.features(x)  # [N,hidden_dims[-1],side,side]
        flatten, hidden, relu, dropout, last = self.classifier
        features = relu(hidden(flatten(x)))  # [N,fc_hidden]
        return {"logits": last(dropout(features)), "features": features}  # [N,classes]


def block(channels: int, width: int, batch_norm: bool) -> list[nn.Module]:
    """Layers of one block: [N,channels,H,W] → [N,width,H//2,W//2]."""
    convolution = nn.Conv2d(channels, width, 3, padding=1)
    norm = [nn.BatchNorm2d(width)] if batch_norm else []
    return [convolution, *norm, nn.ReLU(inplace=True), nn.MaxPool2d(2)]
