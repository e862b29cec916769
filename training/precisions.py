"""Which shorter precisions a network may run in: those that hardly move its probabilities."""

import copy

import torch
from torch import Tensor, nn

from serving.card import Card
from training.fit import BATCH_ROWS, normalise

# A shorter precision is permitted where no probability moves further than this.
PERMITTED_DIFFERENCE = 0.03
SHORTER = (("bf16", torch.bfloat16), ("fp16", torch.float16))


def measure_precisions(network: nn.Module, card: Card, rows: Tensor) -> dict[str, float]:
    """Permitted precisions with their greatest difference in probability against fp32.

    Args:
        card: its temperature counts.
        rows: grey, uint8 [N,1,H,W], at the network's size.
    """
    exact = probabilities_in(network, card, rows, torch.float32)
    permitted = {"fp32": 0.0}
    for name, precision in SHORTER:
        moved = probabilities_in(copy.deepcopy(network).to(precision), card, rows, precision)
        difference = round((moved - exact).abs().max().item(), 4)
        if difference <= PERMITTED_DIFFERENCE:
            permitted[name] = difference
    return permitted


@torch.inference_mode()
def probabilities_in(
    network: nn.Module, card: Card, rows: Tensor, precision: torch.dtype
) -> Tensor:
    """Probabilities [N,classes] by a network that has this precision."""
    parts = []
    for part in rows.split(BATCH_ROWS):
        images = normalise(part.float() / 255, card).to(precision)
        logits = network(images)["logits"].float()
        parts.append((logits / card.temperature).softmax(1))
    return torch.cat(parts)
