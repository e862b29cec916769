"""The only room that runs the network: uint8 rows in, scores out, the fastest way that agrees.

`predictor/ways.py` lists how to run it. Warm-up tries them on golden inputs: those that agree with
eager fp32 are admitted, and the fastest of them is used.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictor.distance import distances
from predictor.passes import cut, rows_at_once
from predictor.single_rows import SingleRows
from predictor.team import Team, compute_with
from predictor.ways import PLAIN, Way, possible_ways
from serving.card import Card
from serving.cpus import available_cpus, give_way
from serving.memory import give_back_freed_memory
from serving.phantom import golden_rows
from serving.settings import ConfigError, Predictor

logger = logging.getLogger(__name__)

GOLDEN_ROWS = 8
TIMINGS = 3
FAR_BEHIND = 1.5
# On a CPU a first pass takes longer than those after it, but hardly ever so much.
FIRST_PASS = 2.0
# A single client leaves at least so long between two passes, while its next file is decoded.
REST_S = 0.003
# How far a way may differ from eager fp32 on the golden inputs; random-weight ResNet-18 in bf16
# was measured at 0.011-0.017.
GREATEST_DIFFERENCE = 0.03
CLEAR_MARGIN = 0.05


class EngineError(RuntimeError):
    """A network that gives no scores on this device; the text is one clear line."""


@dataclass(frozen=True)
class Scores:
    """What one pass says of one row: logits [classes], cam [classes, h, w] if there is one.

    `distance` is how far its features are from those of the training slices, if there are any.
    """

    logits: NDArray[np.float32]
    cam: NDArray[np.float32] | None = None
    distance: np.float32 | None = None


def choose_device(wanted: str) -> torch.device:
    """The device that the settings name.

    Raises:
        ConfigError: it is unknown, or this machine has none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"predictor.device is {wanted!r}, expected auto, cpu or cuda")
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise ConfigError(
            "predictor.device is 'cuda', but no CUDA device was found: none is there, "
            "or its driver is older than the CUDA of this torch"
        )
    return torch.device("cuda" if found and wanted != "cpu" else "cpu")


class Engine:
    """A network on a device. `warm_up` comes before the first `run`.

    `has_cam` says whether the network gives class activation maps; it is known after warm-up.
    With a `bank`, features [K,D] as `load_weights` gives them, scores have a distance to it.
    `clock` gives seconds, for the timing of the ways.
    """

    def __init__(
        self,
        card: Card,
        network: nn.Module,
        settings: Predictor,
        clock: Callable[[], float] = time.perf_counter,
        bank: Tensor | None = None,
    ) -> None:
        self.card = card
        self.device = choose_device(settings.device)
        self.way = PLAIN
        self.has_cam = False
        self.has_distance = bank is not None
        self._bank = None if bank is None else bank.to(self.device)
        self._settings = settings
        self._clock = clock
        self._eager = network.to(self.device)
        self._network = self._eager
        self._threads = settings.threads or available_cpus()
        # Learned apart: what is best beside other work says nothing of a machine at rest.
        self._single_rows = {at_rest: SingleRows() for at_rest in (False, True)}
        self._team = Team(self._threads)
        self._counting = Lock()
        self._begun = self._under_way = 0
        self._ended = -math.inf
        # Runs `warm_up` and `run`. On a GPU it is one thread, for cuDNN's plans are its maker's; it
        # passes on what the GPU waits for.
        own_setting = self._lead if self.device.type == "cpu" else None
        self.runner = ThreadPoolExecutor(self.in_flight, "engine", initializer=own_setting)
        # Each runs passes of its own on one core, so that none waits for a core that is busy. They
        # are as nice as the runner that starts them.
        self._workers = ThreadPoolExecutor(
            self._threads, "pass", initializer=compute_with, initargs=(1,)
        )
        # One multiply and one add take bytes to normalised values: (v / 255 - mean) / std.
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        self._scale = (1 / (255 * std)).to(self.device)
        self._shift = (-mean / std).to(self.device)
        shape = (1, card.input.height, card.input.width, card.input.channels)
        self._empty_row = torch.zeros(shape, dtype=torch.uint8, device=self.device)

    def warm_up(self) -> None:
        """Choose the way: of the permitted ones that agree with eager fp32, the fastest.

        A precision that the settings name goes before speed, as long as it agrees.

        Raises:
            EngineError: the network fails, or gives no logits that could be used.
        """
        rows = golden_rows(self.card.input, GOLDEN_ROWS)
        self.use(PLAIN)
        start = self._clock()
        reference = self._reference(rows)
        first_pass = self._clock() - start
        self.has_cam = reference[0].cam is not None
        networks = {PLAIN: self._network}
        seconds: dict[Way, float] = {}
        # On a GPU a first pass loads what runs there, and says nothing.
        bound = first_pass / FIRST_PASS / FAR_BEHIND if self.device.type == "cpu" else 0.0
        for way in self._others():
            if min(seconds.values(), default=math.inf) < bound:
                break  # it has won: the others are hardly faster than eager fp32
            # The first of its precision that can be used stands for it: it is known as the fastest.
            known = any(it.precision == way.precision for it in seconds)
            if not known and self._can_use(way) and self._agrees(rows, reference):
                networks[way] = self._network
                seconds[way] = self._seconds(rows, (first_pass, *seconds.values()))
        if min(seconds.values(), default=math.inf) >= bound:
            self.way, self._network = PLAIN, networks[PLAIN]
            first_pass = self._seconds(rows, seconds.values())
        seconds = {PLAIN: first_pass, **seconds}
        wanted = self._settings.precision
        asked_for = [way for way in seconds if way.precision == wanted]
        self.way = min(asked_for or seconds, key=lambda way: seconds[way])
        self._network = networks[self.way]
        if wanted not in ("auto", self.way.precision):
            logger.warning("precision %s is not used", wanted, extra={"instead": self.way.name})
        # Single rows are the most frequent batch: what they need is made ready here, both ways.
        on_all = self._seconds(rows[:1])
        on_one = self._seconds(rows[:1], together=False)
        faster = on_all < on_one
        self._single_rows = {it: SingleRows(together=faster) for it in self._single_rows}
        networks.clear()
        give_back_freed_memory()
        logger.info(
            "engine chosen",
            extra={
                "way": self.way.name,
                "device": self.device.type,
                "row_on_all_threads": faster,
            },
        )

    @property
    def most_rows(self) -> int:
        """The largest batch that is worth its wait.

        On a CPU that is less than one may wish for: passes that take turns gain nothing by being
        one batch, and none of its rows has an answer before all have.
        """
        wished = self._settings.max_batch_rows
        return min(wished, rows_at_once(self._threads)) if self.device.type == "cpu" else wished

    @property
    def in_flight(self) -> int:
        """Batches at a time.

        On a CPU the second takes what cores the first leaves idle, which are many where the rows
        are few: threads that share a row wait for one another, and parts are not of one length.
        """
        fitting = min(2, self._threads) if self.device.type == "cpu" else 1
        return self._settings.in_flight or fitting

    def run(self, rows: Sequence[NDArray[np.uint8]]) -> list[Scores]:
        """Scores of rows uint8 [H, W, C], all with the same C: 1, or as the card says."""
        with self._counting:
            self._begun += 1
            self._under_way += 1
            turn, alone = self._begun, self._under_way == 1
            at_rest = self._clock() - self._ended >= REST_S
        single_rows = self._single_rows[at_rest]
        if not alone:
            self._team.release()
        try:
            if len(rows) > 1 or not alone:
                return self._run(rows, together=alone and single_rows.together)
            together = single_rows.next()
            start = self._clock()
            with self._team.spread() if together and at_rest else nullcontext():
                scores = self._run(rows, together=together)
            if self._begun == turn:
                single_rows.took(together, self._clock() - start)
            return scores
        finally:
            with self._counting:
                self._under_way -= 1
                self._ended = self._clock()

    def _lead(self) -> None:
        """Set a thread of the runner up, on a CPU."""
        give_way()
        self._team.gather()

    def _run(self, rows: Sequence[NDArray[np.uint8]], *, together: bool) -> list[Scores]:
        """Side by side on the cores, or with `together` on all at once where the rows are few."""
        if self.device.type != "cpu":
            return self._pass(rows)
        parts = cut(rows, self._threads, together)
        if len(parts) == 1:
            compute_with(self._threads if together else 1)
            return self._pass(rows)
        return [scores for part in self._workers.map(self._pass, parts) for scores in part]

    def _pass(self, rows: Sequence[NDArray[np.uint8]]) -> list[Scores]:
        batch = torch.from_numpy(np.stack(rows)).to(self.device)
        with torch.inference_mode():
            outputs = self._network(self._normalise(batch))
            logits = outputs["logits"].float().cpu().numpy()
            cams = outputs["cam"].float().cpu().numpy() if "cam" in outputs else [None] * len(rows)
            apart = [None] * len(rows) if self._bank is None else self._apart(outputs, self._bank)
        return [Scores(*of_row) for of_row in zip(logits, cams, apart, strict=True)]

    def _apart(self, outputs: Mapping[str, Tensor], bank: Tensor) -> NDArray[np.float32]:
        features, known = outputs.get("features"), bank.shape[1]
        if features is None or features.shape[1] != known:
            given = "none" if features is None else features.shape[1]
            raise EngineError(
                f"the weights' bank has {known} features of a slice, {self.card.architecture} "
                f"gives {given}: bring a bank that was made with this network"
            )
        found: NDArray[np.float32] = distances(features, bank).cpu().numpy()
        return found

    def _normalise(self, batch: Tensor) -> Tensor:
        """uint8 [N,H,W,C] → fp32 [N,C,H,W] for the network, which lies in memory as [N,H,W,C] does.

        One channel is repeated, which is exact.
        """
        return torch.addcmul(self._shift, batch.float(), self._scale).permute(0, 3, 1, 2)

    def _reference(self, rows: Sequence[NDArray[np.uint8]]) -> list[Scores]:
        """What eager fp32 says, which everything else is compared with."""
        subject = f"{self.card.architecture} on {self.device.type}"
        try:
            scores = self.run(rows)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"{subject} fails on its first rows ({type(error).__name__}): "
                "check that the card's input fits the network, and the memory of the device"
            ) from error
        expected = (len(self.card.classes),)
        if not all(item.logits.shape == expected for item in scores):
            raise EngineError(
                f"{subject} gives logits {scores[0].logits.shape} a row, expected {expected}"
            )
        if not all(np.isfinite(item.logits).all() for item in scores):
            raise EngineError(f"{subject} gives logits that are no numbers: are the weights whole?")
        return scores

    def _others(self) -> list[Way]:
        """The ways beside the plain one that card, settings and device permit."""
        wanted = self._settings.precision
        allowed = set(self.card.precisions) if wanted == "auto" else {"fp32", wanted}
        return [way for way in possible_ways(self.device.type) if way.precision in allowed]

    def _can_use(self, way: Way) -> bool:
        """Prepare the network for a way, and say whether that went well."""
        try:
            self.use(way)
        except Exception as error:  # whatever a network does that cannot be packed
            logger.info("%s is not possible", way.name, extra={"exception": type(error).__name__})
            return False
        return True

    def _agrees(self, rows: Sequence[NDArray[np.uint8]], reference: Sequence[Scores]) -> bool:
        try:
            difference, agrees = compare(reference, self.run(rows), self.card.temperature)
        except RuntimeError as error:
            # Not every operation exists in every precision on every device.
            logger.warning("%s fails", self.way.name, extra={"exception": type(error).__name__})
            return False
        if not agrees:
            logger.warning("%s differs from eager fp32", self.way.name, extra={"by": difference})
        return agrees

    def _seconds(
        self,
        rows: Sequence[NDArray[np.uint8]],
        others: Collection[float] = (),
        *,
        together: bool = True,
    ) -> float:
        """The least of a few timings: what else the machine does can only add to one.

        What takes far longer than one of the others is timed once.
        """
        times: list[float] = []
        for _ in range(TIMINGS):
            start = self._clock()
            self._run(rows, together=together)
            times.append(self._clock() - start)
            if times[-1] > FAR_BEHIND * min(others, default=math.inf):
                break
        return min(times)

    def use(self, way: Way) -> None:
        example = self._normalise(self._empty_row)
        self._network = way.prepare(self._eager, example)
        self.way = way


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
    # Logits that fp16 cannot hold become NaN here, which agrees with nothing.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalised: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalised
