"""The model that everything here serves: a ResNet-18 of random weights, and a card of its own."""

from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.images import COUNT
from predictor.checkpoint import build_network, weights_sha256
from serving.card import Card, InputSpec, write_card
from serving.phantom import phantom
from training.precisions import measure_precisions

SIDE = 224


def write_model(folder: Path) -> Path:
    """Write `model.pt` and `model.yaml`; the path of the weights.

    The card permits the precisions that phantoms prove to be near enough to fp32.
    """
    torch.manual_seed(0)
    card = Card("resnet18", InputSpec(SIDE, SIDE))
    network = build_network(card).eval().requires_grad_(False)
    rows = torch.stack([torch.from_numpy(phantom(seed, SIDE, SIDE)) for seed in range(COUNT)])
    weights = folder / "model.pt"
    torch.save(network.state_dict(), weights)
    precisions = measure_precisions(network, card, rows[:, None])
    # fp16 is for devices that have it; on a CPU it only takes long to be found out.
    precisions.pop("fp16", None)
    card = replace(card, precisions=precisions, weights_sha256=weights_sha256(weights))
    write_card(card, weights.with_suffix(".yaml"))
    return weights
