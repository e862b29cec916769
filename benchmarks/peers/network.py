"""What every peer does with an image: the same decoding, resizing, network and normalisation."""

import io
import os

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchvision.models import resnet18

SIDE = 224
CLASSES = ("adenocarcinoma", "large_cell_carcinoma", "squamous_cell_carcinoma", "normal")
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
# As many rows as there are connections at most; where a peer needs a timer to fill a batch, it is
# short beside a forward pass.
BATCH_ROWS = 32
BATCH_WAIT_S = 0.01


def load_network() -> nn.Module:
    """The network with the weights at `MODEL_PATH`, eager fp32 on the CPU."""
    state = torch.load(os.environ["MODEL_PATH"], weights_only=True)
    network: nn.Module = resnet18(num_classes=len(CLASSES))
    network.load_state_dict({key.removeprefix("backbone."): value for key, value in state.items()})
    return network.eval()


def open_image(data: bytes) -> Image.Image:
    """The image of a file, as RGB."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Resized and normalised: fp32 [3, SIDE, SIDE]."""
    resized = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return (torch.from_numpy(resized.copy()).permute(2, 0, 1).float() / 255 - MEAN) / STD


@torch.inference_mode()
def probabilities(network: nn.Module, batch: torch.Tensor) -> NDArray[np.float32]:
    """Probabilities [N, classes] of a normalised batch [N, 3, SIDE, SIDE]."""
    found: NDArray[np.float32] = network(batch).softmax(1).numpy()
    return found


def answer(row: NDArray[np.float32]) -> dict[str, int | str]:
    """What is said of one image."""
    index = int(row.argmax())
    return {"pred_index": index, "pred_class": CLASSES[index]}
