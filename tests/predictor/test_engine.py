import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Barrier

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from predictor.checkpoint import build_network
from predictor.distance import distances
from predictor.engine import REST_S, Engine, EngineError, Scores, choose_device, compare
from predictor.ways import PLAIN
from serving.card import Card, InputSpec
from serving.cpus import NICER
from serving.settings import ConfigError, Predictor

Rows = NDArray[np.uint8]
WIDE = InputSpec(32, 48)
CNN = Card(
    "custom_cnn",
    InputSpec(32, 32),
    arguments={"hidden_dims": [4], "fc_hidden": 8},
    precisions={"fp32": 0.0, "bf16": 0.01},
)
BOTH = {"fp32": 0.0, "bf16": 0.01}
FP32_ALONE = {"fp32": 0.0}


class Stub(nn.Module):
    """A network that says what a function says."""

    def __init__(self, say: Callable[[Tensor], dict[str, Tensor]]) -> None:
        super().__init__()
        self.say = say

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.say(x)


def echo(x: Tensor) -> dict[str, Tensor]:
    """What the network is given comes back as its maps."""
    return {"logits": x.flatten(1)[:, :4], "cam": x}


def logits_of(scores: list[Scores]) -> NDArray[np.float32]:
    return np.stack([item.logits for item in scores])


def apart_of(scores: list[Scores]) -> list[float]:
    return [float(item.distance) for item in scores if item.distance is not None]


def engine_of(network: nn.Module, card: Card = CNN, precision: str = "auto") -> Engine:
    return Engine(card, network, Predictor(device="cpu", precision=precision))


def cnn() -> nn.Module:
    torch.manual_seed(0)
    return build_network(CNN).eval().requires_grad_(False)


def random_rows(count: int, height: int, width: int, channels: int) -> list[Rows]:
    rows = np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8)
    return list(rows)


@pytest.mark.parametrize(
    "card",
    [
        Card("echo", WIDE, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.7)),
        Card("echo", InputSpec(32, 48, channels=1), mean=(0.4,), std=(0.3,)),
    ],
    ids=["colour", "grey"],
)
def test_the_network_sees_bytes_by_255_less_mean_over_std(card: Card) -> None:
    engine = engine_of(Stub(echo), card)
    engine.warm_up()
    rows = random_rows(3, 32, 48, card.input.channels)
    plain = (np.stack(rows) / 255.0 - np.array(card.mean)) / np.array(card.std)
    seen = np.stack([item.cam for item in engine.run(rows) if item.cam is not None])
    np.testing.assert_allclose(seen, plain.transpose(0, 3, 1, 2), atol=1e-5)


def test_one_channel_is_exactly_three_equal_ones() -> None:
    engine = engine_of(cnn())
    engine.warm_up()
    grey = random_rows(3, 32, 32, 1)
    colour = [np.repeat(row, 3, axis=2) for row in grey]
    np.testing.assert_array_equal(logits_of(engine.run(grey)), logits_of(engine.run(colour)))


@pytest.mark.parametrize("count", [1, 5])
def test_every_row_gets_its_own_scores_in_order(count: int) -> None:
    engine = engine_of(cnn(), precision="fp32")
    engine.warm_up()
    rows = random_rows(count, 32, 32, 3)
    together = logits_of(engine.run(rows))
    assert together.shape == (count, 4)
    assert together.dtype == np.float32
    alone = np.stack([engine.run([row])[0].logits for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len({row.tobytes() for row in together}) == count


@pytest.mark.parametrize(("network", "has_cam"), [(Stub(echo), True), (cnn(), False)])
def test_maps_are_there_where_the_network_has_them(network: nn.Module, has_cam: bool) -> None:
    engine = engine_of(network)
    engine.warm_up()
    assert engine.has_cam is has_cam
    for item in engine.run(random_rows(2, 32, 32, 3)):
        assert (item.cam is not None) is has_cam


def echo_features(x: Tensor) -> dict[str, Tensor]:
    return {**echo(x), "features": x.mean(3).flatten(1)}


def test_a_distance_is_measured_where_there_is_a_bank() -> None:
    rows = random_rows(12, 32, 32, 3)
    # Way beyond the rows' own features, so that all are near some and none is near all.
    bank = functional.normalize(torch.randn(30, 96), dim=1)
    plain = Predictor(device="cpu", precision="fp32")
    engine = Engine(CNN, Stub(echo_features), plain, bank=bank)
    engine.warm_up()
    assert engine.has_distance
    found = apart_of(engine.run(rows))
    seen = np.stack([item.cam for item in engine.run(rows) if item.cam is not None])
    features = torch.from_numpy(seen).mean(3).flatten(1)
    np.testing.assert_allclose(found, distances(features, bank), atol=1e-4)
    assert len(set(found)) == 12


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_precision_measures_about_the_same_distance(precision: str) -> None:
    rows, network = random_rows(3, 32, 32, 3), cnn()
    bank = functional.normalize(torch.rand(20, 8), dim=1)
    plain = Engine(CNN, network, Predictor(device="cpu", precision="fp32"), bank=bank)
    engine = Engine(CNN, network, Predictor(device="cpu", precision=precision), bank=bank)
    for it in (plain, engine):
        it.warm_up()
    assert engine.way.precision == precision
    found = [apart_of(it.run(rows)) for it in (plain, engine)]
    np.testing.assert_allclose(found[1], found[0], atol=5e-3)


def test_without_a_bank_there_is_no_distance() -> None:
    engine = engine_of(Stub(echo_features))
    engine.warm_up()
    assert not engine.has_distance
    assert {item.distance for item in engine.run(random_rows(2, 32, 32, 3))} == {None}


@pytest.mark.parametrize(
    ("say", "given"), [(echo, "gives none"), (echo_features, "32 features .* gives 96")]
)
def test_a_bank_of_another_network_stops_the_start(
    say: Callable[[Tensor], dict[str, Tensor]], given: str
) -> None:
    bank = torch.ones(6, 32)
    engine = Engine(CNN, Stub(say), Predictor(device="cpu"), bank=bank)
    with pytest.raises(EngineError, match=given):
        engine.warm_up()


def test_trying_other_ways_leaves_the_weights_as_they_were() -> None:
    # A clock that stands still makes all ways alike, and the plainest is taken.
    network = cnn()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    engine = Engine(CNN, network, Predictor(device="cpu"), clock=lambda: 0.0)
    engine.use(PLAIN)
    rows = random_rows(4, 32, 32, 3)
    expected = logits_of(engine.run(rows))
    engine.warm_up()
    assert engine.way.name == "eager fp32"
    np.testing.assert_array_equal(logits_of(engine.run(rows)), expected)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_two_engines_share_a_network_in_peace() -> None:
    network = cnn()
    first = engine_of(network, precision="bf16")
    second = engine_of(network, precision="fp32")
    first.warm_up()
    second.warm_up()
    rows = random_rows(2, 32, 32, 3)
    apart = np.abs(logits_of(first.run(rows)) - logits_of(second.run(rows))).max()
    assert 0 < apart < 0.05
    np.testing.assert_allclose(
        logits_of(second.run(rows)), logits_of(engine_of(network).run(rows)), atol=1e-6
    )


def seconds_of(costs: Mapping[str, float], x: Tensor) -> float:
    precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[x.dtype]
    wide = not x.is_contiguous()
    return costs[f"{precision} channels_last" if wide else precision]


PLAIN_FASTEST = {"fp32": 1.0, "fp32 channels_last": 2.0, "bf16 channels_last": 3.0}
WIDE_FASTEST = {"fp32": 2.0, "fp32 channels_last": 1.0, "bf16 channels_last": 3.0}
BF16_FASTEST = {"fp32": 3.0, "fp32 channels_last": 2.0, "bf16 channels_last": 1.0}


@pytest.mark.parametrize(
    ("precision", "permitted", "costs", "chosen"),
    [
        ("auto", BOTH, PLAIN_FASTEST, "eager fp32"),
        ("auto", BOTH, WIDE_FASTEST, "eager fp32 channels_last"),
        ("auto", BOTH, BF16_FASTEST, "eager bf16 channels_last"),
        ("auto", FP32_ALONE, BF16_FASTEST, "eager fp32 channels_last"),
        ("fp32", BOTH, BF16_FASTEST, "eager fp32 channels_last"),
        ("bf16", BOTH, PLAIN_FASTEST, "eager bf16 channels_last"),
        ("bf16", FP32_ALONE, PLAIN_FASTEST, "eager bf16 channels_last"),
    ],
)
def test_the_fastest_way_is_used_unless_a_precision_is_named(
    precision: str, permitted: Mapping[str, float], costs: Mapping[str, float], chosen: str
) -> None:
    now = [0.0]
    seen: set[torch.dtype] = set()

    def slow_echo(x: Tensor) -> dict[str, Tensor]:
        now[0] += seconds_of(costs, x)
        seen.add(x.dtype)
        return echo(x)

    card = Card("echo", InputSpec(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, precisions=permitted)
    settings = Predictor(device="cpu", precision=precision, threads=1)
    engine = Engine(card, Stub(slow_echo), settings, clock=lambda: now[0])
    engine.warm_up()
    assert engine.way.name == chosen
    bf16_wanted = precision == "bf16" or (precision == "auto" and "bf16" in permitted)
    assert (torch.bfloat16 in seen) is bf16_wanted


def accelerating() -> Callable[[], float]:
    """A clock by which everything takes less time than what came before it."""
    calls = count()
    return lambda: next(calls) ** 0.5


def slowing() -> Callable[[], float]:
    """A clock by which everything takes more time than what came before it."""
    calls = count()
    return lambda: next(calls) ** 2.0


class Pace:
    """A clock by which the ways that a word names take a second and all others three."""

    def __init__(self, fast: str) -> None:
        self.engine: Engine | None = None
        self._fast = fast
        self._now = 0.0

    def __call__(self) -> float:
        assert self.engine is not None
        self._now += 1.0 if self._fast in self.engine.way.name else 3.0
        return self._now


@pytest.mark.parametrize(
    ("permitted", "fast", "chosen"),
    [
        (FP32_ALONE, "packed", "packed fp32"),
        (BOTH, "bf16", "packed bf16"),
        (BOTH, "eager", "eager fp32"),
    ],
)
def test_what_can_be_packed_is_packed_where_that_is_faster(
    permitted: Mapping[str, float], fast: str, chosen: str
) -> None:
    network, rows = cnn(), random_rows(3, 32, 32, 3)
    clock = Pace(fast)
    engine = Engine(
        replace(CNN, precisions=permitted), network, Predictor(device="cpu"), clock=clock
    )
    clock.engine = engine
    plain = engine.run(rows)
    engine.warm_up()
    assert engine.way.name == chosen
    assert compare(plain, engine.run(rows), 1.0)[1]


@pytest.mark.parametrize(("plain_s", "tried"), [(2.9, 3), (3.1, 2)])
def test_where_one_way_has_won_no_more_are_tried(plain_s: float, tried: int) -> None:
    seen: set[tuple[torch.dtype, bool]] = set()

    def say(x: Tensor) -> dict[str, Tensor]:
        plain = x.is_contiguous() and x.dtype == torch.float32
        seen.add((x.dtype, plain))
        now[0] += plain_s if plain else 1.0
        return echo(x)

    now = [0.0]
    card = replace(CNN, precisions=BOTH)
    engine = Engine(card, Stub(say), Predictor(device="cpu", threads=1), clock=lambda: now[0])
    engine.warm_up()
    assert len(seen) == tried
    assert engine.way.precision == "bf16"


def test_a_way_that_is_far_behind_is_timed_once() -> None:
    passes: list[str] = []

    def slow_if_plain(x: Tensor) -> dict[str, Tensor]:
        plain = x.is_contiguous() and x.dtype == torch.float32
        passes.append("plain" if plain else "other")
        now[0] += 3.0 if plain else 1.0
        return echo(x)

    now = [0.0]
    settings = Predictor(device="cpu", threads=1)
    card = replace(CNN, precisions=FP32_ALONE)
    engine = Engine(card, Stub(slow_if_plain), settings, clock=lambda: now[0])
    engine.warm_up()
    # The reference and one timing; the other way is compared, timed, and timed with single rows.
    assert passes.count("plain") == 2
    assert passes.count("other") > 2


@pytest.mark.parametrize(("clock", "alone"), [(slowing(), 3), (accelerating(), 1)])
def test_rows_run_side_by_side_and_one_on_as_many_threads_as_are_faster(
    clock: Callable[[], float], alone: int
) -> None:
    seen: list[tuple[int, int]] = []

    def say(x: Tensor) -> dict[str, Tensor]:
        seen.append((len(x), torch.get_num_threads()))
        return {"logits": x.flatten(1)[:, :4]}

    engine = Engine(CNN, Stub(say), Predictor(device="cpu", threads=3), clock=clock)
    engine.warm_up()
    for rows, passes in ((1, [(1, alone)]), (10, [(3, 1), (3, 1), (4, 1)])):
        seen.clear()
        engine.run(random_rows(rows, 32, 32, 3))
        assert sorted(seen) == passes


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's own on Linux alone")
def test_passes_leave_the_cores_to_the_main_thread() -> None:
    seen: list[int] = []

    def say(x: Tensor) -> dict[str, Tensor]:
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))
        return {"logits": x.flatten(1)[:, :4]}

    engine = Engine(CNN, Stub(say), Predictor(device="cpu", threads=3), clock=slowing())
    engine.runner.submit(engine.warm_up).result()
    for rows in (1, 10):
        engine.runner.submit(engine.run, random_rows(rows, 32, 32, 3)).result()
    main = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert set(seen) == {min(19, main + NICER)}


def test_a_row_that_finds_another_under_way_takes_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """On all of them both would wait for one another; and its time says nothing of either way."""
    inside, go_on = Barrier(2, timeout=30), Barrier(2, timeout=30)
    seen: list[int] = []

    def say(x: Tensor) -> dict[str, Tensor]:
        seen.append(torch.get_num_threads())
        if meet:
            inside.wait()
            go_on.wait()
        return {"logits": x.flatten(1)[:, :4]}

    meet = False
    engine = Engine(CNN, Stub(say), Predictor(device="cpu", threads=3), clock=slowing())
    engine.warm_up()
    engine.run(random_rows(1, 32, 32, 3))
    assert seen[-1] == 3
    timed: list[bool] = []
    for rows in engine._single_rows.values():
        monkeypatch.setattr(rows, "took", lambda together, _: timed.append(together))
    meet = True
    seen.clear()
    with ThreadPoolExecutor(1) as other:
        first = other.submit(engine.run, random_rows(1, 32, 32, 3))
        inside.wait()
        meet = False
        engine.run(random_rows(1, 32, 32, 3))
        go_on.wait()
        first.result()
    assert seen == [3, 1]
    assert timed == []
    engine.run(random_rows(1, 32, 32, 3))
    assert seen[-1] == 3
    assert timed == [True]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU, so nothing to spread")
def test_threads_that_share_a_row_are_spread_until_another_batch_comes() -> None:
    everywhere = os.sched_getaffinity(0)
    inside, go_on = Barrier(2, timeout=30), Barrier(2, timeout=30)
    seen: list[set[int]] = []

    def say(x: Tensor) -> dict[str, Tensor]:
        seen.append(os.sched_getaffinity(0))
        if meet:
            inside.wait()
            go_on.wait()
            seen.append(os.sched_getaffinity(0))
        return {"logits": x.flatten(1)[:, :4]}

    meet = False
    engine = Engine(
        CNN, Stub(say), Predictor(device="cpu", threads=len(everywhere)), clock=slowing()
    )
    engine.runner.submit(engine.warm_up).result()
    meet = True
    seen.clear()
    first = engine.runner.submit(engine.run, random_rows(1, 32, 32, 3))
    inside.wait()
    meet = False
    engine.run(random_rows(2, 32, 32, 3))
    go_on.wait()
    first.result()
    assert len(seen[0]) == 1
    assert seen[1:] == [everywhere] * 3


@pytest.mark.parametrize(
    ("threads", "wished", "given"), [(2, 0, 2), (8, 0, 2), (1, 0, 1), (2, 1, 1), (1, 3, 3)]
)
def test_two_batches_are_under_way_on_several_cores_unless_the_settings_say_otherwise(
    threads: int, wished: int, given: int
) -> None:
    settings = Predictor(device="cpu", threads=threads, in_flight=wished)
    assert Engine(CNN, Stub(lambda _: {}), settings).in_flight == given


def test_what_is_best_of_a_row_is_learned_apart_at_rest_and_beside_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    engine = Engine(CNN, Stub(echo), Predictor(device="cpu", threads=2), clock=lambda: now[0])
    engine.warm_up()
    said: list[bool] = []
    for at_rest, rows in engine._single_rows.items():
        monkeypatch.setattr(rows, "took", lambda *_, at_rest=at_rest: said.append(at_rest))
    for pause in (1.0, REST_S * 2, REST_S / 2, 0.0):
        now[0] += pause
        engine.run(random_rows(1, 32, 32, 3))
    assert said == [True, True, False, False]


@pytest.mark.parametrize(("threads", "wished", "most"), [(1, 32, 8), (2, 32, 16), (2, 5, 5)])
def test_the_largest_batch_is_one_pass_on_each_core(threads: int, wished: int, most: int) -> None:
    settings = Predictor(device="cpu", threads=threads, max_batch_rows=wished)
    assert Engine(CNN, Stub(lambda _: {}), settings).most_rows == most


def swapped(x: Tensor) -> dict[str, Tensor]:
    return {"logits": echo(x)["logits"].flip(1) * 5}


def overflown(x: Tensor) -> dict[str, Tensor]:
    return {"logits": torch.full((len(x), 4), math.inf, dtype=x.dtype)}


def unsupported(x: Tensor) -> dict[str, Tensor]:
    raise NotImplementedError("conv is not implemented for BFloat16")


@pytest.mark.parametrize(
    ("in_bf16", "said"),
    [(swapped, "differs"), (overflown, "differs"), (unsupported, "fails")],
)
@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_a_way_that_disagrees_or_fails_is_logged_and_not_used(
    in_bf16: Callable[[Tensor], dict[str, Tensor]],
    said: str,
    precision: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]

    def say(x: Tensor) -> dict[str, Tensor]:
        now[0] += 0.0 if x.dtype == torch.bfloat16 else 1.0
        gradient = torch.linspace(0, 2, 4).expand(len(x), 4)
        plain = {"logits": gradient + x.flatten(1)[:, :4].float() * 0.01}
        return in_bf16(x) if x.dtype == torch.bfloat16 else plain

    settings = Predictor(device="cpu", precision=precision)
    engine = Engine(CNN, Stub(say), settings, clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "predictor.engine"):
        engine.warm_up()
    assert engine.way.precision == "fp32"
    assert any(f"eager bf16 channels_last {said}" in text for text in caplog.messages)
    assert ("precision bf16 is not used" in caplog.messages) is (precision == "bf16")
    assert np.isfinite(logits_of(engine.run(random_rows(1, 32, 32, 3)))).all()


def test_fp16_is_never_tried_on_a_cpu(caplog: pytest.LogCaptureFixture) -> None:
    seen: set[torch.dtype] = set()

    def say(x: Tensor) -> dict[str, Tensor]:
        seen.add(x.dtype)
        return echo(x)

    with caplog.at_level(logging.WARNING, "predictor.engine"):
        engine_of(Stub(say), precision="fp16").warm_up()
    assert seen == {torch.float32}
    assert caplog.messages == ["precision fp16 is not used"]


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (unsupported, r"fails on its first rows \(NotImplementedError\)"),
        (lambda x: {}, r"fails on its first rows \(KeyError\)"),
        (lambda x: {"logits": x.flatten(1)[:, :5]}, r"gives logits \(5,\) a row, expected \(4,\)"),
        (lambda x: {"logits": x.flatten(1)[:, :4] * math.nan}, "are no numbers"),
    ],
)
def test_a_network_without_usable_logits_ends_the_warm_up(
    say: Callable[[Tensor], dict[str, Tensor]], said: str
) -> None:
    with pytest.raises(EngineError, match=f"^custom_cnn on cpu .*{said}") as caught:
        engine_of(Stub(say)).warm_up()
    assert "BFloat16" not in str(caught.value)


def scores(*probabilities: float) -> list[Scores]:
    return [Scores(np.log(np.array(probabilities, np.float32)))]


CLOSE = (0.32, 0.28, 0.2, 0.2)  # best two 0.04 apart
CLEAR = (0.33, 0.27, 0.2, 0.2)  # best two 0.06 apart


@pytest.mark.parametrize(
    ("reference", "candidate", "difference", "agrees"),
    [
        (CLEAR, CLEAR, 0.0, True),
        ((0.7, 0.1, 0.1, 0.1), (0.671, 0.129, 0.1, 0.1), 0.029, True),
        ((0.7, 0.1, 0.1, 0.1), (0.669, 0.131, 0.1, 0.1), 0.031, False),
        (CLOSE, (0.295, 0.305, 0.2, 0.2), 0.025, True),
        (CLEAR, (0.3005, 0.2995, 0.2, 0.2), 0.0295, True),
        ((0.3275, 0.2725, 0.2, 0.2), (0.299, 0.301, 0.2, 0.2), 0.0285, False),
    ],
    ids=["equal", "near", "far", "another-label-close", "same-label", "another-label-clear"],
)
def test_ways_agree_within_a_bound_and_on_clear_labels(
    reference: tuple[float, ...], candidate: tuple[float, ...], difference: float, agrees: bool
) -> None:
    found, said = compare(scores(*reference), scores(*candidate), temperature=1.0)
    assert found == pytest.approx(difference, abs=1e-6)
    assert said is agrees


def test_one_bad_row_among_good_ones_is_a_disagreement() -> None:
    good, bad = scores(*CLEAR), scores(0.2, 0.4, 0.2, 0.2)
    assert compare(good * 3, good * 2 + bad, 1.0)[1] is False


def test_probabilities_are_compared_at_the_temperature_of_the_card() -> None:
    reference, candidate = scores(0.7, 0.1, 0.1, 0.1), scores(0.6, 0.2, 0.1, 0.1)
    assert compare(reference, candidate, 1.0)[1] is False
    assert compare(reference, candidate, 10.0)[1] is True


@pytest.mark.parametrize(
    ("wanted", "found", "device"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_is_the_wanted_one_or_the_best_there_is(
    wanted: str, found: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    assert choose_device(wanted).type == device


@pytest.mark.parametrize(("wanted", "said"), [("tpu", "expected auto"), ("cuda", "was found")])
def test_a_device_that_is_not_there_is_refused(
    wanted: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"predictor.device is '{wanted}'.*{said}"):
        choose_device(wanted)
