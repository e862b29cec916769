"""Train a network and write its weights and their card: `python -m training.train --help`."""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from predictor.checkpoint import CheckpointError, build_network, weights_sha256
from predictor.networks import NETWORKS
from serving.card import CLASSES, Card, InputSpec, write_card
from training.augment import augment
from training.dataset import Dataset, DatasetError, read_dataset
from training.imagenet import start_from_imagenet

BATCH_ROWS = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.1
# A shorter precision is permitted where no probability moves further than this.
PERMITTED_DIFFERENCE = 0.03


def main(arguments: Sequence[str]) -> None:
    """Read both splits, train, and write `--out` with its card beside it."""
    given = parse(arguments)
    torch.manual_seed(given.seed)
    card = Card(architecture=given.architecture, input=InputSpec(given.size, given.size))
    try:
        network = build_network(card)
        valid = read_dataset(given.data / "valid", card.input)
        train = read_dataset(given.data / "train", card.input, known=valid.pictures)
    except (CheckpointError, DatasetError) as error:
        sys.exit(f"training: {error}")
    start = start_from_imagenet(network)
    fit(network, card, train, valid, given.epochs)
    network.eval()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), given.out)
    right = accuracy(network, card, valid)
    card = dataclasses.replace(
        card,
        precisions=measure_precisions(network, card, valid),
        weights_sha256=weights_sha256(given.out),
        provisional=True,
        about=describe(given, train, valid) | {"start": start, "valid_accuracy": round(right, 4)},
    )
    write_card(card, given.out.with_suffix(".yaml"))
    print(f"wrote {given.out} and its card: {right:.1%} right on valid")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and valid/")
    parser.add_argument("--data-name", help="name of the data in the card; default: the folder's")
    parser.add_argument("--out", type=Path, default=Path("models/model.pt"))
    parser.add_argument("--architecture", choices=[*NETWORKS], default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224, help="side of the input in pixels")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def describe(given: argparse.Namespace, train: Dataset, valid: Dataset) -> dict[str, Any]:
    """What the card tells people about the run."""
    return {
        "provisional": "Trained in minutes so that there is something to run: do not trust its "
        "answers, better weights will take its place.",
        "use": "Research use only, not a medical device.",
        "training_data": given.data_name or given.data.resolve().name,
        "train_images": per_class(train),
        "valid_images": per_class(valid),
        "duplicates": "Distinct images are counted; one under two classes is in neither split, "
        "one of the validation split is not trained on.",
        "epochs": given.epochs,
        "seed": given.seed,
    }


def fit(network: nn.Module, card: Card, train: Dataset, valid: Dataset, epochs: int) -> None:
    """Train in place; the last epoch counts, so that `valid` chooses nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # A run has few steps; slower statistics would stay those of the starting weights.
            module.momentum = 0.1
    network.to(memory_format=torch.channels_last)
    batches = max(1, len(train.labels) // BATCH_ROWS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=epochs * batches + 1
    )
    with Progress() as progress:
        task = progress.add_task("training", total=epochs * batches)
        for epoch in range(1, epochs + 1):
            network.train()
            for index in torch.randperm(len(train.labels)).tensor_split(batches):
                images = augment(train.rows[index].float() / 255)
                logits = network(normalise(images, card))["logits"]
                loss = functional.cross_entropy(
                    logits, train.labels[index], label_smoothing=LABEL_SMOOTHING
                )
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                progress.advance(task)
            right = accuracy(network.eval(), card, valid)
            text = f"epoch {epoch}/{epochs}, loss {loss.item():.2f}, valid {right:.0%}"
            progress.update(task, description=text)


def normalise(images: Tensor, card: Card) -> Tensor:
    """Images [N,C,H,W] from 0 to 1 as the network wants them."""
    mean, std = torch.tensor(card.mean)[:, None, None], torch.tensor(card.std)[:, None, None]
    return (images - mean) / std


@torch.inference_mode()
def probabilities(
    network: nn.Module, card: Card, rows: Tensor, precision: torch.dtype = torch.float32
) -> Tensor:
    """Softmax of the logits [N,classes] of uint8 rows [N,C,H,W]."""
    parts = []
    for part in torch.split(rows, BATCH_ROWS):
        images = normalise(part.float() / 255, card).to(precision)
        parts.append(network(images)["logits"].float().softmax(1))
    return torch.cat(parts)


def accuracy(network: nn.Module, card: Card, dataset: Dataset) -> float:
    """Share of rows whose best class is their label."""
    best = probabilities(network, card, dataset.rows).argmax(1)
    return (best == dataset.labels).float().mean().item()


def measure_precisions(network: nn.Module, card: Card, dataset: Dataset) -> dict[str, float]:
    """Permitted precisions with their greatest difference in probability against fp32."""
    exact = probabilities(network, card, dataset.rows)
    permitted = {"fp32": 0.0}
    for name, precision in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        short = copy.deepcopy(network).to(precision)
        moved = probabilities(short, card, dataset.rows, precision) - exact
        difference = round(moved.abs().max().item(), 4)
        if difference <= PERMITTED_DIFFERENCE:
            permitted[name] = difference
    return permitted


def per_class(dataset: Dataset) -> dict[str, int]:
    """Rows of each class."""
    counts = dataset.labels.bincount(minlength=len(CLASSES)).tolist()
    return dict(zip(CLASSES, counts, strict=True))


if __name__ == "__main__":
    main(sys.argv[1:])
