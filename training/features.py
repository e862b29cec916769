"""The features of the training pictures, which tell how far a slice lies from all of them."""

import torch
from torch import Tensor, nn

from predictor.distance import bank_of, leave_one_out
from serving.card import Card
from training.fit import BATCH_ROWS, normalise


@torch.inference_mode()
def feature_bank(network: nn.Module, card: Card, rows: Tensor) -> Tensor | None:
    """The bank [N,D], as it lies beside the weights, of grey rows uint8 [N,1,H,W].

    The rows have the network's size. None where the network does not give its features.
    """
    parts = []
    for part in torch.split(rows, BATCH_ROWS):
        outputs = network(normalise(part.float() / 255, card))
        if "features" not in outputs:
            return None
        parts.append(outputs["features"])
    return bank_of(torch.cat(parts))


def spread_of(bank: Tensor) -> float:
    """The median distance of a row of the bank to the others: how close its own slices lie."""
    return float(leave_one_out(bank).median())
