"""Score weights on labelled pictures and write what it shows: `python -m training.evaluate --help`.

With `--folds` every picture is scored by the network of the fold that has not seen it; without, the
weights of `--model` are scored on a folder that they should not have seen.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import track
from torch import Tensor, nn

from predictor.checkpoint import CheckpointError, find_card, load_weights
from serving.card import Card, CardError, Gate, read_card, write_card
from serving.settings import Process, Settings
from training.blanking import BLANKINGS
from training.cue_swaps import choose_donors
from training.evaluation import Evaluation, EvaluationError
from training.evaluation_figures import write_figures
from training.evaluation_page import report, with_interval
from training.features import spread_of
from training.folds import FOLDS_TABLE, OUTCOMES, fold_weights
from training.gating import accepts
from training.intruder_rates import intruder_rates
from training.model_card import Extras, model_card
from training.outcomes import Outcomes, OutcomesError, joined
from training.pictures import Picture, read_folds, read_pictures
from training.renderings import RENDERINGS, SHIFTS
from training.samples import LayoutError, find_files
from training.scoring import Judge, outcomes_of
from transformer.gate import input_objections

REPORT, FIGURES = "report.md", "figures.yaml"
EVERYTHING = {**RENDERINGS, **SHIFTS, **BLANKINGS}


def main(arguments: Sequence[str]) -> None:
    """Score, or read what was scored before, and write to `--out` and, if asked, the page."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    try:
        evaluate(given)
    except (LayoutError, CheckpointError, CardError, OutcomesError, EvaluationError) as error:
        sys.exit(f"evaluate: {error}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder with <class>/ or <split>/<class>/")
    source.add_argument("--outcomes", type=Path, help="outcomes.npz of an earlier run")
    parser.add_argument("--model", type=Path, default=Path("models/model.pt"))
    parser.add_argument("--folds", type=Path, help="folder with folds.csv and the fold networks")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluate"))
    parser.add_argument("--page", type=Path, help="write the model card here; needs --folds")
    parser.add_argument("--seeds", type=Path, nargs="*", default=[], help="figures.yaml of runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args(arguments)
    if given.page and not (given.folds or given.outcomes):
        parser.error("--page tells what fold networks say: name them with --folds")
    return given


def evaluate(given: argparse.Namespace) -> None:
    """Do what the command line says.

    Raises:
        LayoutError, CheckpointError, CardError, OutcomesError, EvaluationError: an input is missing
            or wrong.
    """
    card = find_card(Settings(process=Process(model_path=given.model)))
    seeds = read_seeds(given.seeds)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.outcomes:
        name, outcomes = str(given.outcomes), Outcomes.load(given.outcomes)
    elif given.folds:
        name, outcomes = f"{given.data.resolve().name}, out of fold", of_folds(given, card)
    else:
        name, outcomes = given.data.resolve().name, of_weights(given, card)
    outcomes.save(given.out / OUTCOMES)
    gate = None if card.gate is None else partial(accepts, card.gate)
    evaluation = Evaluation(outcomes, card.temperature, gate)
    write_figures(evaluation, given.out)
    (given.out / REPORT).write_text(report(name, evaluation), encoding="utf-8")
    figures = yaml.safe_dump(evaluation.figures(), sort_keys=False)
    (given.out / FIGURES).write_text(figures, encoding="utf-8")
    if given.page:
        folder = given.page.with_suffix("")
        write_figures(evaluation, folder)
        card = noted(given.model, evaluation)
        text = model_card(card, evaluation, Extras(seeds), f"{folder.name}/")
        given.page.write_text(text, encoding="utf-8")
    print(f"wrote {given.page or given.out / REPORT}")
    print(f"cancers called by their class: {with_interval(evaluation.score.cancers)}")


def noted(weights: Path, evaluation: Evaluation) -> Card:
    """The card with the figures in its notes, which change neither its version nor any answer.

    Raises:
        CardError: there is no card beside the weights.
    """
    path = weights.with_suffix(".yaml")
    card = read_card(path)
    found = {"figures": evaluation.figures()}
    if card.gate is not None:
        found["intruders"] = intruder_rates(*load_weights(card, weights), card)
    card = replace(card, about={**card.about, **found})
    write_card(card, path)
    return card


def of_weights(given: argparse.Namespace, card: Card) -> Outcomes:
    """The shipped weights on every distinct picture of a folder."""
    found = read_pictures(track(find_files(given.data), "reading"))
    if found.unreadable:
        first = found.unreadable[0].reason
        print(f"{len(found.unreadable)} files are left out, the service refuses them: {first}")
    if found.conflicts:
        print(f"{found.conflicts} pictures are left out: they lie under several classes")
    if not found.pictures:
        raise LayoutError(f"{given.data} holds no picture that could be scored")
    network, bank = load_weights(card, given.model)
    donors = choose_donors(found.pictures)
    return scored(network, card, card.gate, bank, found.pictures, donors, "scoring")


def of_folds(given: argparse.Namespace, shipped: Card) -> Outcomes:
    """Every picture by the network of the fold that it lies in, which was not trained on it.

    What the image alone says is judged by the shipped gate. Distances are put on the scale of the
    shipped weights, so that its bound fits them: each network's own slices lie as close as they do.
    """
    scale = spread_at(given.model, shipped)
    pictures = read_folds(given.folds / FOLDS_TABLE, given.data)
    donors = choose_donors(pictures)
    parts = []
    for fold in sorted({picture.fold for picture in pictures}):
        weights = fold_weights(given.folds, fold)
        card = find_card(Settings(process=Process(model_path=weights)))
        network, bank = load_weights(card, weights)
        own = [picture for picture in pictures if picture.fold == fold]
        part = scored(network, card, shipped.gate, bank, own, donors, f"fold {fold}")
        if bank is not None and scale is not None:
            part = part.at_distance(part.distance * np.float32(scale / spread_of(bank)))
        parts.append(part)
    return joined(parts)


def spread_at(weights: Path, card: Card) -> float | None:
    """How close the training slices of these weights lie to each other; None: it is not known."""
    _, bank = load_weights(card, weights)
    return None if bank is None else spread_of(bank)


def scored(
    network: nn.Module,
    card: Card,
    gate: Gate | None,
    bank: Tensor | None,
    pictures: Sequence[Picture],
    donors: Mapping[str, Path],
    words: str,
) -> Outcomes:
    """All variants of the pictures, with a progress bar."""
    judge: Judge = (lambda _: ()) if gate is None else partial(input_objections, gate)
    return outcomes_of(network, card, track(pictures, words), EVERYTHING, donors, judge, bank)


def read_seeds(paths: Sequence[Path]) -> dict[str, Any]:
    """The figures of other runs by the name of their folder.

    Raises:
        LayoutError: a file is missing or holds no figures.
    """
    seeds = {}
    for path in paths:
        try:
            figures = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise LayoutError(f"{path} cannot be read ({type(error).__name__})") from error
        if not isinstance(figures, dict) or "cancers_right" not in figures:
            raise LayoutError(f"{path} holds no figures: expected what make evaluate wrote")
        seeds[path.parent.name] = figures
    return seeds


if __name__ == "__main__":
    main(sys.argv[1:])
