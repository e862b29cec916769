"""The features of the training pictures, which tell how far a slice lies from all of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from serving.card import Card
from training.fit import BATCH_ROWS, normalise


@torch.inference_mode()
def feature_bank(network: nn.Module, card: Card, rows: Tensor) -> Tensor | None:
    """Features of length 1, fp16 [N,D], of grey rows uint8 [N,1,H,W] at the network's size.

    None where the network does not give its features.
    """
    parts = []
    for part in rows.split(BATCH_ROWS):
        outputs = network(normalise(part.float() / 255, card))
        if "features" not in outputs:
            return None
        parts.append(functional.normalize(outputs["features"]))
    return torch.cat(parts).half()
