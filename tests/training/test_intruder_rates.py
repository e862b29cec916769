import pytest
import torch
from PIL import Image

from predictor.checkpoint import build_network
from serving.card import Card, Gate, InputSpec
from serving.phantom import phantom
from training import intruder_rates as rates
from transformer.decode import Slice
from transformer.gate import grey_profile
from transformer.statistics import summarise


def test_every_intruder_is_counted_once_by_its_kind_and_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Image.fromarray(phantom(0, 96, 96)).convert("RGB")
    coloured = Image.new("RGB", (96, 96), (200, 40, 40))
    coloured.paste(known.resize((32, 32)))
    things = [("phantom", known), ("photo", coloured), ("photo", coloured)]
    monkeypatch.setattr(rates, "intruders", lambda: iter(things))
    profile = grey_profile(summarise(Slice(known, 96, 96)).histogram)
    gate = Gate((tuple(profile.tolist()),), (), 5.0, 250.0, margin=0.0)
    torch.manual_seed(0)
    card = Card("custom_cnn", InputSpec(64, 64), gate=gate)
    network = build_network(card).eval().requires_grad_(False)
    network.classifier[-1].bias.copy_(torch.tensor([9.0, 0, 0, 0]))  # type: ignore[index, union-attr]
    assert rates.intruder_rates(network, None, card) == {
        "phantom": {"n": 1, "abstain": 0, "review": 0, "accept": 1},
        "photo": {"n": 2, "abstain": 2, "review": 0, "accept": 0},
    }
