"""Which shorter precisions a network may run in: those that hardly move its probabilities."""

import torch
from torch import Tensor, nn

from predictor.ways import PLAIN, WAYS, Way
from serving.card import Card
from training.fit import BATCH_ROWS, normalise

# A shorter precision is permitted where no probability moves further than this.
PERMITTED_DIFFERENCE = 0.03


def measure_precisions(network: nn.Module, card: Card, rows: Tensor) -> dict[str, float]:
    """Permitted precisions with their greatest difference in probability against fp32.

    Each is measured in the first way to run it that the network allows, as the predictor runs it.

    Args:
        card: its temperature counts.
        rows: grey, uint8 [N,1,H,W], at the network's size.
    """
    exact = probabilities_in(network, card, rows)
    permitted = {PLAIN.precision: 0.0}
    measured = {PLAIN.precision}
    for way in WAYS:
        if way.precision in measured:
            continue
        prepared = run_in(way, network, normalise(rows[:1].float() / 255, card))
        if prepared is None:
            continue
        measured.add(way.precision)
        moved = probabilities_in(prepared, card, rows)
        difference = round((moved - exact).abs().max().item(), 4)
        if difference <= PERMITTED_DIFFERENCE:
            permitted[way.precision] = difference
    return permitted


def run_in(way: Way, network: nn.Module, example: Tensor) -> nn.Module | None:
    """The network as it runs in a way, or None if it cannot."""
    try:
        return way.prepare(network, example)
    except Exception:  # whatever a network does that cannot be packed
        return None


@torch.inference_mode()
def probabilities_in(network: nn.Module, card: Card, rows: Tensor) -> Tensor:
    """Probabilities [N,classes] by a network that takes fp32 rows."""
    parts = []
    for part in torch.split(rows, BATCH_ROWS):
        logits = network(normalise(part.float() / 255, card))["logits"].float()
        parts.append((logits / card.temperature).softmax(1))
    return torch.cat(parts)
