"""One training run: examples in, a network's weights out. It goes on where it was killed."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.networks.efficientnet_lite0 import EfficientNetLite0
from serving.card import Card
from training.augment import augment
from training.examples import Examples
from training.imagenet import start_from_imagenet
from training.pictures import NORMAL

BATCH_ROWS = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.1
# Faster statistics than ImageNet's: a run has few steps.
MOMENTUM = 0.1
# Normal slices are the fewest: drawn three times they are a quarter of what an epoch sees.
NORMAL_DRAWS = 3
# Blocks behind the stem that keep ImageNet's weights: edges and blobs are the same in CT, and
# without them a step takes 28 % less time.
KEPT_BLOCKS = 3

# Called after every step with the epoch, from 1, and the loss.
Report = Callable[[int, float], None]


def drawn(examples: Examples) -> Tensor:
    """The index of every example as often as an epoch sees it."""
    normals = torch.where(examples.labels == NORMAL)[0]
    again = normals.repeat(NORMAL_DRAWS - 1)
    return torch.cat((torch.arange(len(examples.labels)), again))


def steps(examples: Examples) -> int:
    """Steps of one epoch."""
    return max(1, len(drawn(examples)) // BATCH_ROWS)


def fit(
    network: nn.Module,
    card: Card,
    examples: Examples,
    *,
    epochs: int,
    seed: int,
    state: Path,
    report: Report,
) -> str:
    """Train in place and leave the network in eval mode; the last epoch counts.

    After every epoch all that is needed to go on is put into the file `state`, which is read first
    if it is there; it stays when the run is complete, so that a further call trains nothing.

    Returns:
        Where the weights started from.
    """
    torch.manual_seed(seed)
    start = start_from_imagenet(network)
    kept = kept_parts(network, start)
    for part in kept:
        part.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = MOMENTUM
    network.to(memory_format=torch.channels_last)
    seen = drawn(examples)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=epochs * steps(examples) + 1
    )
    keeper = Keeper(state, {"network": network, "optimizer": optimizer, "schedule": schedule})
    for epoch in range(keeper.restored() + 1, epochs + 1):
        network.train()
        for part in kept:
            part.eval()
        order = seen[torch.randperm(len(seen))]
        for index in order.tensor_split(steps(examples)):
            images = augment(examples.rows[index].float() / 255, card.input.height)
            logits = network(normalise(images, card))["logits"]
            loss = functional.cross_entropy(
                logits, examples.labels[index], label_smoothing=LABEL_SMOOTHING
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            report(epoch, loss.item())
        keeper.keep(epoch)
    network.eval().requires_grad_(False)
    return start


def kept_parts(network: nn.Module, start: str) -> list[nn.Module]:
    """What stays as ImageNet left it; nothing of a network that starts from random weights."""
    if isinstance(network, EfficientNetLite0) and start.startswith("ImageNet"):
        return [network.stem, *network.blocks[:KEPT_BLOCKS]]
    return []


def normalise(images: Tensor, card: Card) -> Tensor:
    """Grey images [N,1,H,W] from 0 to 1 as the network wants them: [N,C,H,W]."""
    mean, std = torch.tensor(card.mean)[:, None, None], torch.tensor(card.std)[:, None, None]
    return (images - mean) / std


class Keeper:
    """Keeps the state of a run in a file, which is whole at every moment."""

    def __init__(self, path: Path, parts: dict[str, object]) -> None:
        self._path = path
        self._parts = parts

    def restored(self) -> int:
        """The epoch that the file was written after, with everything as it was then; 0 if none."""
        if not self._path.is_file():
            return 0
        kept = torch.load(self._path, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(kept[name])  # type: ignore[attr-defined]
        torch.set_rng_state(kept["random"])
        return int(kept["epoch"])

    def keep(self, epoch: int) -> None:
        states = {name: part.state_dict() for name, part in self._parts.items()}  # type: ignore[attr-defined]
        new = self._path.with_suffix(".new")
        torch.save({**states, "random": torch.get_rng_state(), "epoch": epoch}, new)
        os.replace(new, self._path)
