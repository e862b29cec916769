"""The only room that runs the network: uint8 rows in, scores out, the fastest way that agrees.

`WAYS` lists how to run it, plainest first. Warm-up runs each on golden inputs; one is admitted if
it agrees with eager fp32, and the fastest admitted one is used.
"""

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serving.card import Card
from serving.cpus import available_cpus
from serving.phantom import golden_rows
from serving.settings import ConfigError, Predictor

logger = logging.getLogger(__name__)

GOLDEN_ROWS = 8
# How far a way may differ from eager fp32 on the golden inputs; random-weight ResNet-18 in bf16
# was measured at 0.011-0.017.
GREATEST_DIFFERENCE = 0.03
CLEAR_MARGIN = 0.05


@dataclass(frozen=True)
class Way:
    """One way to run the network."""

    name: str
    precision: str
    memory_format: torch.memory_format


WAYS = (
    Way("eager fp32", "fp32", torch.contiguous_format),
    Way("eager fp32 channels_last", "fp32", torch.channels_last),
    Way("eager bf16 channels_last", "bf16", torch.channels_last),
    Way("eager fp16 channels_last", "fp16", torch.channels_last),
)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Scores:
    """What one pass says of one row: logits [classes], cam [classes, h, w] if there is one."""

    logits: NDArray[np.float32]
    cam: NDArray[np.float32] | None = None


def choose_device(wanted: str) -> torch.device:
    """The device that the settings name.

    Raises:
        ConfigError: it is unknown, or this machine has none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"predictor.device is {wanted!r}, expected auto, cpu or cuda")
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise ConfigError("predictor.device is 'cuda', but no CUDA device was found")
    return torch.device("cuda" if found and wanted != "cpu" else "cpu")


class Engine:
    """A network on a device. `warm_up` comes before the first `run`.

    `has_cam` says whether the network gives class activation maps; it is known after warm-up.
    """

    def __init__(self, card: Card, network: nn.Module, settings: Predictor) -> None:
        self.card = card
        self.device = choose_device(settings.device)
        self._settings = settings
        self._eager = network.to(self.device)
        self._network = self._eager
        self.way = WAYS[0]
        self.has_cam = False
        if self.device.type == "cpu":
            torch.set_num_threads(settings.threads or available_cpus())
        # One multiply and one add take bytes to normalised values: (v / 255 - mean) / std.
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        self._scale = (1 / (255 * std)).view(1, -1, 1, 1).to(self.device)
        self._shift = (-mean / std).view(1, -1, 1, 1).to(self.device)

    def warm_up(self) -> None:
        """Choose the way: the fastest of the permitted ones that agrees with eager fp32."""
        rows = golden_rows(self.card.input, GOLDEN_ROWS)
        self._use(WAYS[0])
        reference = self.run(rows)
        self.has_cam = reference[0].cam is not None
        fastest, best = WAYS[0], self._seconds(rows)
        for way in self._permitted()[1:]:
            self._use(way)
            difference, agrees = compare(reference, self.run(rows), self.card.temperature)
            if not agrees:
                logger.warning(
                    "%s differs from eager fp32 and is not used", way.name, extra={"by": difference}
                )
                continue
            seconds = self._seconds(rows)
            if seconds < best or self._settings.precision == way.precision != fastest.precision:
                fastest, best = way, seconds
        self._use(fastest)
        self.run(rows[:1])
        logger.info(
            "engine chosen",
            extra={"way": fastest.name, "ms_per_row": round(best * 1000 / len(rows), 2)},
        )

    def run(self, rows: Sequence[NDArray[np.uint8]]) -> list[Scores]:
        """Scores of rows uint8 [H, W, C], all with the same C: 1, or as the card says."""
        batch = torch.from_numpy(np.stack(rows)).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            outputs = self._network(self._normalise(batch))
            logits = outputs["logits"].float().cpu().numpy()
            cams = outputs["cam"].float().cpu().numpy() if "cam" in outputs else [None] * len(rows)
        return [Scores(row, cam) for row, cam in zip(logits, cams, strict=True)]

    def _normalise(self, batch: Tensor) -> Tensor:
        """uint8 [N,C,H,W] → the network's input; one channel is repeated, which is exact."""
        wide = batch.float() * self._scale + self._shift
        return wide.to(DTYPES[self.way.precision], memory_format=self.way.memory_format)

    def _use(self, way: Way) -> None:
        # A copy each time: what bf16 rounded away would be lost on the way back to fp32.
        network = copy.deepcopy(self._eager)
        network.to(dtype=DTYPES[way.precision])
        self._network = network.to(memory_format=way.memory_format)
        self.way = way

    def _permitted(self) -> list[Way]:
        wanted = self._settings.precision
        allowed = set(self.card.precisions) if wanted == "auto" else {"fp32", wanted}
        if self.device.type == "cpu":
            allowed.discard("fp16")
        return [way for way in WAYS if way.precision in allowed]

    def _seconds(self, rows: Sequence[NDArray[np.uint8]]) -> float:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            self.run(rows)
            times.append(time.perf_counter() - start)
        return min(times)


def compare(
    reference: Sequence[Scores], candidate: Sequence[Scores], temperature: float
) -> tuple[float, bool]:
    """The greatest difference in probability, and whether it is small enough to be used.

    The labels must be the same wherever the reference's two best are clearly apart.
    """
    expected = _probabilities(reference, temperature)
    found = _probabilities(candidate, temperature)
    difference = float(np.abs(expected - found).max())
    ordered = np.sort(expected, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] >= CLEAR_MARGIN
    same = bool((expected.argmax(1) == found.argmax(1))[clear].all())
    return difference, same and difference <= GREATEST_DIFFERENCE


def _probabilities(scores: Sequence[Scores], temperature: float) -> NDArray[np.float64]:
    logits = np.stack([item.logits for item in scores]).astype(np.float64) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalised: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalised
