"""The card: what the weights are. It lies beside them as `model.yaml` and travels with them.

The predictor reads the file; the transformer gets the same content from `GET /card` and prepares
images as its input part says. `config.yaml` says how the processes run; no fact stands in both.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

CLASSES = ("adenocarcinoma", "large_cell_carcinoma", "squamous_cell_carcinoma", "normal")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Bins of 8 grey values. The first, black, is not among them: how much of it surrounds the body is
# a matter of the crop.
PROFILE_BINS = 31


class CardError(ValueError):
    """A card that cannot be used; the text names the key, what was found and what was expected."""


@dataclass(frozen=True)
class Window:
    """A CT window in Hounsfield units, for DICOM input."""

    center: float
    width: float

    def __post_init__(self) -> None:
        for value in (self.center, self.width):
            if type(value) not in (int, float) or not math.isfinite(value):
                raise CardError(f"card: input: window: {value!r} is no number")
        if self.width <= 0:
            raise CardError(f"card: input: window: width is {self.width}, expected more than 0")


@dataclass(frozen=True)
class Gate:
    """What a slice is held against before an answer is relied on: `transformer/gate.py` says how.

    A profile has the shares of `PROFILE_BINS` equal bins of grey values from 8 to 255. `profiles`
    are those of training slices that stand for all others of the classes that can be accepted,
    `other_profiles` for those of the classes that never are. Profile distances are in grey values,
    `feature_distance` is a cosine distance (None: the weights bring no features to compare with),
    `margin` and `colour_share` are shares. `training/profile.py` says where the bounds come from.
    """

    profiles: tuple[tuple[float, ...], ...]
    other_profiles: tuple[tuple[float, ...], ...]
    profile_distance: float
    ct_distance: float
    margin: float
    feature_distance: float | None = None
    colour_share: float = 0.05

    def __post_init__(self) -> None:
        if not self.profiles:
            raise CardError("card: gate: profiles are empty, expected at least one")
        for profile in (*self.profiles, *self.other_profiles):
            shares = len(profile) == PROFILE_BINS and all(0 <= share <= 1 for share in profile)
            if not shares or abs(sum(profile) - 1) > 0.01:
                raise CardError(
                    f"card: gate: a profile is {list(profile)}, "
                    f"expected {PROFILE_BINS} shares that add up to 1"
                )
        for key in ("profile_distance", "ct_distance", "feature_distance"):
            value = getattr(self, key)
            if not (value is None and key == "feature_distance") and not 0 < value < math.inf:
                raise CardError(f"card: gate: {key} is {value}, expected a number above 0")
        for key in ("margin", "colour_share"):
            if not 0 <= getattr(self, key) <= 1:
                raise CardError(
                    f"card: gate: {key} is {getattr(self, key)}, expected a number from 0 to 1"
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Gate":
        """The gate that `dataclasses.asdict` made plain."""
        plain = dict(values)
        for key in ("profiles", "other_profiles"):
            plain[key] = tuple(tuple(float(it) for it in profile) for profile in plain[key])
        return cls(**plain)


@dataclass(frozen=True)
class InputSpec:
    """How an image becomes a row: all that the transformer must do alike for these weights.

    Rows are uint8 [height, width, channels]; `resize` names the one kernel that is known.
    """

    height: int
    width: int
    channels: int = 3
    resize: str = "bilinear-antialias"
    window: Window | None = None

    def __post_init__(self) -> None:
        for size in (self.height, self.width, self.channels):
            if type(size) is not int or size < 1:
                raise CardError(f"card: input: {size!r} is no size, expected whole numbers above 0")
        if self.channels not in (1, 3):
            raise CardError(f"card: input: channels is {self.channels}, expected 1 or 3")
        if self.resize != "bilinear-antialias":
            raise CardError(
                f"card: input: resize is {self.resize!r}, expected 'bilinear-antialias'"
            )

    @property
    def row_bytes(self) -> int:
        """Bytes of one row with all its channels."""
        return self.height * self.width * self.channels

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that change whenever rows would have to be prepared otherwise."""
        return _digest(asdict(self))


@dataclass(frozen=True)
class Card:
    """Facts about one set of weights.

    `precisions` maps each permitted precision to its measured greatest difference in probability
    against fp32. Without a `gate` no answer is more than a review. `about` holds what only people
    read: training data, figures, intended use.
    """

    architecture: str
    input: InputSpec
    name: str = "ctscan"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    classes: tuple[str, ...] = CLASSES
    temperature: float = 1.0
    precisions: Mapping[str, float] = field(default_factory=lambda: {"fp32": 0.0})
    weights_sha256: str | None = None
    provisional: bool = False
    gate: Gate | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("architecture", "name"):
            if not isinstance(getattr(self, key), str):
                raise CardError(f"card: {key} is {getattr(self, key)!r}, expected a text")
        for key in ("arguments", "precisions"):
            if not isinstance(getattr(self, key), Mapping):
                raise CardError(f"card: {key} is {getattr(self, key)!r}, expected a mapping")
        if self.classes != CLASSES:
            raise CardError(
                f"card: classes are {list(self.classes)}, expected {list(CLASSES)} in this order"
            )
        if not 0 < self.temperature < math.inf:
            raise CardError(f"card: temperature is {self.temperature}, expected a number above 0")
        if len(self.mean) != self.input.channels or len(self.std) != self.input.channels:
            raise CardError(
                f"card: mean and std have {len(self.mean)} and {len(self.std)} values, "
                f"expected one for each of the {self.input.channels} input channels"
            )
        if not all(0 < value < math.inf for value in self.std):
            raise CardError(f"card: std is {list(self.std)}, expected numbers above 0")
        if "fp32" not in self.precisions:
            raise CardError("card: precisions must permit fp32")

    @cached_property
    def version(self) -> str:
        """Twelve hex digits that change with the weights and every fact that answers depend on."""
        return _digest(self.to_wire())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to YAML and sent as JSON."""
        # What YAML knows and JSON does not, such as a date, is text.
        plain: dict[str, Any] = json.loads(json.dumps(_keyed_by_text(asdict(self)), default=str))
        if self.gate is None:
            # Cards that were written before there were gates keep their version.
            del plain["gate"]
        return plain

    def to_wire(self) -> dict[str, Any]:
        """What an answer depends on: the card without what only people read."""
        return {key: value for key, value in self.to_dict().items() if key != "about"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Card":
        """The card that `to_dict` wrote.

        Raises:
            CardError: a key is unknown or missing, or a value does not fit.
        """
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(values) - known, key=str)
        if unknown:
            raise CardError(f"card: unknown keys {unknown}, expected some of {sorted(known)}")
        try:
            spec = dict(values["input"])
            window = spec.pop("window", None)
            plain = dict(values)
            plain["input"] = InputSpec(window=Window(**window) if window else None, **spec)
            for key in ("mean", "std"):
                if key in plain:
                    plain[key] = tuple(float(number) for number in plain[key])
            if "temperature" in plain:
                plain["temperature"] = float(plain["temperature"])
            if plain.get("gate") is not None:
                plain["gate"] = Gate.from_dict(plain["gate"])
            if "classes" in plain:
                plain["classes"] = tuple(plain["classes"])
            return cls(**plain)
        except CardError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise CardError(f"card: {_without_type_noise(error)}") from error


def read_card(path: Path) -> Card:
    """Read a card file.

    Raises:
        CardError: the file is no card; the text names the path.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: cannot be read as YAML ({type(error).__name__})") from error
    if not isinstance(values, dict):
        raise CardError(f"{path}: expected a mapping of card keys")
    try:
        return Card.from_dict(values)
    except CardError as error:
        raise CardError(f"{path}: {error}") from error


def write_card(card: Card, path: Path) -> None:
    """Write a card as YAML, keys in the order of the class, a list of numbers in one line."""
    text = yaml.safe_dump(
        card.to_dict(), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
    path.write_text(text, encoding="utf-8")


def _digest(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _keyed_by_text(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {str(key): _keyed_by_text(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_keyed_by_text(value) for value in values]
    return values


def _without_type_noise(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"key {error.args[0]!r} is missing"
    text = str(error).replace("Card.__init__() ", "")
    return text.replace("InputSpec.__init__() ", "input: ").replace("Gate.__init__() ", "gate: ")
