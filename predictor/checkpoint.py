"""From the files that an operator brings to a card and a network: nothing is guessed silently."""

import hashlib
import inspect
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.networks import NETWORKS
from predictor.old_model import card_from_old, facts_of, old_facts
from serving.card import Card, read_card
from serving.settings import Settings


class CheckpointError(ValueError):
    """Weights, or a description of them, that cannot be used; the text is one clear line."""


def find_card(settings: Settings) -> Card:
    """The card of the weights at `MODEL_PATH`: the file beside them, else the old `model:` section.

    Raises:
        CheckpointError: no weights, nothing that describes them, or two descriptions in conflict.
        CardError: the card, or the section in its place, is wrong in itself.
    """
    weights, config = settings.process.model_path, settings.process.config_path
    digest = weights_sha256(weights)
    beside = weights.with_suffix(".yaml")
    facts = {} if settings.model is None else old_facts(settings.model)
    if not beside.is_file():
        if settings.model is None:
            raise CheckpointError(
                f"nothing says what {weights} is: add its card {beside}, "
                f"or a model section with a name to {config}"
            )
        return card_from_old(facts, digest)
    card = read_card(beside)
    for key, value in facts_of(card).items():
        if key in facts and facts[key] != value:
            raise CheckpointError(
                f"{key} is {value!r} in {beside} and {facts[key]!r} in {config}: "
                "remove the description that does not belong to these weights"
            )
    if card.weights_sha256 not in (None, digest):
        raise CheckpointError(
            f"{beside} describes other weights: it names sha256 {str(card.weights_sha256)[:12]}…, "
            f"{weights} has {digest[:12]}…; bring the card of these weights, or remove it"
        )
    return card


def weights_sha256(path: Path) -> str:
    """The digest of a weights file, 64 hex digits.

    Raises:
        CheckpointError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"weights {path} do not exist: set MODEL_PATH, or put the file there"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"weights {path} cannot be read ({type(error).__name__}): expected a readable file"
        ) from error


@dataclass(frozen=True)
class Weights:
    """What a weights file holds: tensors by the names that the network gives them.

    `bank` has the features [K,D] of training slices, fp32 and of length 1, where the file has any.
    """

    state: dict[str, Tensor]
    bank: Tensor | None = None


def load_weights(card: Card, path: Path) -> tuple[nn.Module, Tensor | None]:
    """The card's network with the weights of a file, fp32 on the CPU, in eval mode; and the bank.

    A file may hold a plain state dict, `{"state_dict": …}`, or a Lightning checkpoint, whose keys
    begin with `model.`. Beside `state_dict` there may be `bank`: features of training slices.

    Raises:
        CheckpointError: the file is missing, no checkpoint, unsafe, or does not fit the network
            or the card.
    """
    network = build_network(card)
    weights = read_weights(path)
    state = weights.state
    misfits = find_misfits(network.state_dict(), state)
    if misfits:
        raise CheckpointError(
            f"weights {path} do not fit {card.architecture}: {'; '.join(misfits)}"
        )
    if weights.bank is None and card.gate is not None and card.gate.feature_distance is not None:
        raise CheckpointError(
            f"weights {path} have no bank of features, but their card bounds the distance to it: "
            "bring the weights of this card, or set gate: feature_distance to null"
        )
    network.load_state_dict(state)
    return network.eval().requires_grad_(False), weights.bank


def build_network(card: Card) -> nn.Module:
    """The card's network with random weights.

    Raises:
        CheckpointError: the architecture or one of its arguments is unknown.
    """
    if card.architecture not in NETWORKS:
        raise CheckpointError(
            f"card: architecture is {card.architecture!r}, expected one of {', '.join(NETWORKS)}"
        )
    constructor = NETWORKS[card.architecture]
    accepted = inspect.signature(constructor).parameters
    stated = {
        "classes": len(card.classes),
        "channels": card.input.channels,
        "image_size": card.input.height,
    }
    own = [key for key in accepted if key not in stated]
    unknown = [key for key in card.arguments if key not in own]
    if unknown:
        raise CheckpointError(
            f"card: {card.architecture} has no arguments {unknown}, expected some of {own}"
        )
    if "image_size" in accepted and card.input.height != card.input.width:
        raise CheckpointError(
            f"card: input is {card.input.height}x{card.input.width}, "
            f"{card.architecture} needs a square"
        )
    arguments = {key: value for key, value in stated.items() if key in accepted}
    try:
        return constructor(**arguments, **card.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"card: no {card.architecture} can be built from {arguments | dict(card.arguments)}"
        ) from error


def read_weights(path: Path) -> Weights:
    """The tensors of a weights file.

    Raises:
        CheckpointError: the file is missing, no checkpoint, or holds more than plain values.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"weights {path} do not exist: set MODEL_PATH, or put the file there"
        ) from error
    except Exception as error:  # a broken file can fail anywhere in the unpickler
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise CheckpointError(
                f"weights {path} hold Python objects, which could run code, and are not loaded: "
                "save tensors alone, torch.save(model.state_dict(), path)"
            ) from error
        raise CheckpointError(
            f"weights {path} are no checkpoint: "
            "expected a file written by torch.save(model.state_dict(), path)"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise CheckpointError(
            f"weights {path} hold no state dict: expected names with tensors, "
            "plain or under the key 'state_dict'"
        )
    bank = loaded.get("bank") if loaded is not state else None
    if bank is not None:
        bank = _checked_bank(bank, path)
    # Lightning keeps the network as `model.` beside entries of its own, such as class weights.
    prefix = "model."
    under_model = {key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)}
    return Weights(under_model or state, bank)


def _checked_bank(bank: object, path: Path) -> Tensor:
    if not isinstance(bank, Tensor) or bank.ndim != 2 or 0 in bank.shape:
        raise CheckpointError(
            f"weights {path} have a bank that is none: expected features [slices, values]"
        )
    if not bank.isfinite().all():
        raise CheckpointError(f"weights {path} have a bank with values that are no numbers")
    # What fp16 rounded away is put right once, not for every row.
    return functional.normalize(bank.float(), dim=1)


def find_misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What keeps `found` from being loaded: a phrase for each kind, naming the first keys."""
    missing = [key for key in expected if key not in found]
    surplus = [key for key in found if key not in expected]
    shapes = [
        f"{key} is {list(found[key].shape)}, not {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    return [
        f"{len(keys)} {kind} ({', '.join(keys[:2])}{', …' if len(keys) > 2 else ''})"
        for kind, keys in (("missing", missing), ("unexpected", surplus), ("misshapen", shapes))
        if keys
    ]
