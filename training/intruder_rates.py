"""How often the whole gate, image and network together, notices what is no chest CT."""

from collections import Counter

from torch import Tensor, nn

from predictor.engine import Engine
from serving.card import Card
from serving.settings import Predictor
from training.intruders import intruders
from transformer.decode import Slice
from transformer.gate import Evidence
from transformer.prediction import predict_from
from transformer.preprocess import preprocess
from transformer.statistics import summarise


def intruder_rates(
    network: nn.Module, bank: Tensor | None, card: Card
) -> dict[str, dict[str, int]]:
    """For each kind of intruder how many there are, and how many got which decision.

    Args:
        network, bank: as `predictor.checkpoint.load_weights` gives them.
    """
    engine = Engine(card, network, Predictor(), bank=bank)
    found: dict[str, Counter[str]] = {}
    for kind, image in intruders():
        rgb = image.convert("RGB")
        statistics = summarise(Slice(rgb, rgb.height, rgb.width))
        (scores,) = engine.run([preprocess(rgb, card.input)])
        distance = None if scores.distance is None else float(scores.distance)
        evidence = Evidence(statistics, distance=distance)
        answer = predict_from(scores.logits, card, evidence, "")
        found.setdefault(kind, Counter())[answer.decision] += 1
    return {
        kind: {"n": counts.total(), **{it: counts[it] for it in ("abstain", "review", "accept")}}
        for kind, counts in found.items()
    }
