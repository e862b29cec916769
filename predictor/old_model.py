"""Weights without a card: the `model:` section of the script that this service replaces."""

from collections.abc import Mapping
from typing import Any

from predictor.networks import NETWORKS
from serving.card import CLASSES, IMAGENET_MEAN, IMAGENET_STD, Card, CardError, InputSpec

# The old script's names, in lower case; a name of ours stands for itself.
ALIASES = {"cnn": "custom_cnn", "customcnn": "custom_cnn", "resnet": "resnet18"}
ARGUMENTS = {"custom_cnn": ("hidden_dims", "fc_hidden", "dropout", "batch_norm")}


def old_facts(section: Mapping[str, Any]) -> dict[str, Any]:
    """What the section states, in the words of `facts_of`; keys of training alone are left out.

    Args:
        section: the old `model:` section with `image_size` and `normalize` of `data:`.

    Raises:
        CardError: a value is not one that the old script could have trained and we can serve.
    """
    facts: dict[str, Any] = {}
    if "name" in section:
        facts["architecture"] = architecture(str(section["name"]))
    if section.get("num_classes", len(CLASSES)) != len(CLASSES):
        raise CardError(
            f"model.num_classes is {section['num_classes']!r}, expected {len(CLASSES)}: "
            f"{', '.join(CLASSES)}"
        )
    for key in ("image_size", "input_channels"):
        if key in section:
            facts[key] = whole_number(key, section[key])
    normalize = section.get("normalize") or {}
    if not isinstance(normalize, Mapping):
        raise CardError(f"normalize is {normalize!r}, expected a mapping with mean and std")
    for key in ("mean", "std"):
        if key in normalize:
            facts[key] = numbers(f"normalize.{key}", normalize[key])
    arguments = ARGUMENTS.get(facts.get("architecture", ""), ())
    return facts | {key: section[key] for key in arguments if key in section}


def architecture(name: str) -> str:
    """The network that `model.name` means.

    Raises:
        CardError: a network that needs more than the image.
    """
    lower = name.lower()
    if lower.startswith("dual_pathway"):
        raise CardError(
            f"model.name is {name!r}, which needs radiomics features beside the image and is not "
            f"served: bring weights of one of {', '.join(NETWORKS)}"
        )
    return ALIASES.get(lower, lower)


def whole_number(key: str, value: object) -> int:
    """A number of pixels or channels, read strictly: YAML's `true` is not 1."""
    if type(value) is not int or value < 1:
        raise CardError(f"{key} is {value!r}, expected a whole number above 0")
    return value


def numbers(key: str, value: object) -> list[float]:
    """One number for each channel."""
    if not isinstance(value, list) or not all(isinstance(item, int | float) for item in value):
        raise CardError(f"{key} is {value!r}, expected a list of numbers")
    return [float(item) for item in value]


def facts_of(card: Card) -> dict[str, Any]:
    """What a card says, as far as the old section could say it too."""
    height, width = card.input.height, card.input.width
    return {
        **card.arguments,
        "architecture": card.architecture,
        "image_size": height if height == width else [height, width],
        "input_channels": card.input.channels,
        "mean": list(card.mean),
        "std": list(card.std),
    }


def card_from_old(facts: Mapping[str, Any], weights_sha256: str) -> Card:
    """A card for the old script's weights, with its defaults; fp32 is all that it permits.

    Raises:
        CardError: no name of a network, an unknown one, or constants that do not fit the channels.
    """
    name = facts.get("architecture")
    if name not in NETWORKS:
        raise CardError(f"model.name is {name!r}, expected one of {', '.join(NETWORKS)}")
    side = facts.get("image_size", 224)
    return Card(
        architecture=name,
        input=InputSpec(side, side, facts.get("input_channels", 3)),
        arguments={key: facts[key] for key in ARGUMENTS.get(name, ()) if key in facts},
        mean=tuple(facts.get("mean", IMAGENET_MEAN)),
        std=tuple(facts.get("std", IMAGENET_STD)),
        weights_sha256=weights_sha256,
    )
