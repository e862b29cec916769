"""Train the weights that are served, and their card: `python -m training.train --help`.

Every step leaves its files in `--runs`; a run that was killed is begun again by the same command
and goes on where it was:

1. `folds.csv`: every distinct picture once, and the fold that holds it out
2. `fold-<k>.pt` and `.yaml`: the network that has not seen fold k
3. `outcomes.npz`: what these say of their folds, as they are and shifted
4. `--out` and its card: the network that has seen all, with the temperature and the bounds of the
   gate that fit those outcomes
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

from predictor.checkpoint import CheckpointError, build_network, weights_sha256
from predictor.networks import NETWORKS
from serving.card import CLASSES, Card, Gate, InputSpec, write_card
from serving.memory import keep_freed_memory
from training.bounds import fit_feature_distance, fit_margin
from training.calibration import fit_temperature
from training.examples import Examples, examples_of, prepare
from training.features import feature_bank, spread_of
from training.fit import fit, steps
from training.folds import FOLDS_TABLE, OUTCOMES, fold_weights, with_folds, write_folds
from training.outcomes import AS_IS, Ints, Outcomes, joined
from training.pictures import Found, Picture, read_pictures
from training.precisions import measure_precisions
from training.profile import fit_profile
from training.progress import StepBar
from training.renderings import SHIFTS
from training.samples import LayoutError, find_files
from training.scoring import outcomes_of
from training.window import WINDOW

# Pictures are prepared larger than the network's input, so that a crop of one stays sharp.
MARGIN = 8 / 7
# Every so many pictures one is run in shorter precisions: on a CPU fp16 takes seconds for each.
MEASURED = 8


def main(arguments: Sequence[str]) -> None:
    """Train as the command line says; what cannot be done is one line and exit status 1."""
    given = parse(arguments)
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    try:
        train(given)
    except (LayoutError, CheckpointError) as error:
        sys.exit(f"train: {error}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train")
    parser.add_argument("--data", type=Path, required=True, help="folder with <split>/<class>/")
    parser.add_argument("--data-name", help="name of the data in the card; default: the folder's")
    parser.add_argument("--out", type=Path, default=Path("models/model.pt"))
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/train"), help="default: %(default)s"
    )
    parser.add_argument("--architecture", choices=[*NETWORKS], default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=288, help="side of the input in pixels")
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--hold-out", type=int, help="train the network of this fold alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(arguments)


def train(given: argparse.Namespace) -> None:
    """All steps.

    Raises:
        LayoutError, CheckpointError: the data, or the network asked for, cannot be used.
    """
    card = Card(given.architecture, InputSpec(given.size, given.size, window=WINDOW))
    build_network(card)
    found = read_pictures(track(find_files(given.data), "reading"))
    large = round(given.size * MARGIN)
    prepared = prepare(track(found.pictures, "preparing"), (large, given.size))
    pictures = with_folds(found.pictures, prepared.thumbnails, given.folds)
    examples = examples_of(pictures, prepared.rows[large])
    rows = prepared.rows[given.size]
    held_out = range(given.folds) if given.hold_out is None else (given.hold_out,)
    given.runs.mkdir(parents=True, exist_ok=True)
    scored = [picture for picture in pictures if picture.fold in held_out]
    write_folds(scored, given.data, given.runs / FOLDS_TABLE)

    outcomes = joined([hold_out(given, card, pictures, examples, rows, it) for it in held_out])
    outcomes.save(given.runs / OUTCOMES)
    if given.hold_out is not None:
        print(f"wrote {given.runs}; make evaluate tells what its network is worth")
        return
    network, start = trained(given, card, examples, "all")
    bank = feature_bank(network, card, rows)
    card = replace(card, temperature=fit_temperature(outcomes.logits, outcomes.label))
    card = replace(
        card,
        gate=fit_gate(outcomes, card, prepared.histograms, examples.labels.numpy(), bank),
        precisions=measure_precisions(network, card, rows[::MEASURED]),
        about=describe(given, found, pictures, start),
    )
    write_weights(network, bank, card, given.out)
    print(f"wrote {given.out} and its card; make evaluate tells what they are worth")


def hold_out(
    given: argparse.Namespace,
    card: Card,
    pictures: Sequence[Picture],
    examples: Examples,
    rows: Tensor,
    fold: int,
) -> Outcomes:
    """What a network says of a fold that it has not seen, as it is and shifted.

    Distances are in spreads of the network's own slices, so that those of the folds compare.
    """
    seen = examples.folds != fold
    network, _ = trained(given, card, examples.where(seen), f"fold-{fold}")
    bank = feature_bank(network, card, rows[seen])
    write_weights(network, bank, card, fold_weights(given.runs, fold))
    own = [picture for picture in pictures if picture.fold == fold]
    scored = outcomes_of(network, card, track(own, f"scoring fold {fold}"), SHIFTS, bank=bank)
    return scored if bank is None else scored.at_distance(scored.distance / spread_of(bank))


def trained(
    given: argparse.Namespace, card: Card, examples: Examples, name: str
) -> tuple[nn.Module, str]:
    """A network trained on these examples, and where its weights started from."""
    network = build_network(card)
    with StepBar(name, given.epochs, steps(examples)) as bar:
        start = fit(
            network,
            card,
            examples,
            epochs=given.epochs,
            seed=given.seed,
            state=given.runs / f"{name}.state",
            report=bar,
        )
    return network, start


def write_weights(network: nn.Module, bank: Tensor | None, card: Card, path: Path) -> None:
    """The weights, with the features beside them if there are any, and their card."""
    state: dict[str, Any] = {"state_dict": network.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state if bank is None else state | {"bank": bank}, path)
    write_card(replace(card, weights_sha256=weights_sha256(path)), path.with_suffix(".yaml"))


def fit_gate(
    outcomes: Outcomes, card: Card, histograms: Ints, labels: Ints, bank: Tensor | None
) -> Gate:
    """The bounds of what is accepted: of the greys, the features and the two best classes."""
    distance = None
    if bank is not None:
        distance = fit_feature_distance(outcomes.of(AS_IS).distance, spread_of(bank))
    return Gate(
        **fit_profile(histograms, labels),
        margin=fit_margin(outcomes, card.temperature),
        feature_distance=distance,
    )


def describe(
    given: argparse.Namespace, found: Found, pictures: Sequence[Picture], start: str
) -> dict[str, Any]:
    """What the card tells people about the run."""
    counts = Counter(CLASSES[picture.label] for picture in pictures)
    return {
        "use": "Research use only, not a medical device.",
        "training_data": given.data_name or given.data.resolve().name,
        "images": {name: counts[name] for name in CLASSES},
        "duplicates": f"{found.files} files hold {len(pictures)} distinct pictures; "
        f"{found.conflicts} more lie under several classes and are left out.",
        "normal": "From other sources than the cancers: what is called normal looks like those.",
        "start": start,
        "epochs": given.epochs,
        "seed": given.seed,
        "folds": given.folds,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
