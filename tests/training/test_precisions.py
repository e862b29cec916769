import pytest
import torch

from predictor.packing import pack
from serving.card import Card, InputSpec
from training.fit import normalise
from training.precisions import measure_precisions, probabilities_in

CARD = Card("custom_cnn", InputSpec(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
ROWS = torch.arange(100, 150, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)


class Brightness(torch.nn.Module):
    """Logits that tell bright rows from dark ones; bf16 moves them by what it rounds away."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = torch.nn.Parameter(torch.tensor(steepness))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = (x.mean((1, 2, 3)) - 0.5) * self.steepness
        return {"logits": torch.stack((mean, -mean, mean * 0, mean * 0), 1)}


def test_probabilities_come_batch_by_batch_in_order() -> None:
    found = probabilities_in(Brightness(2.0), CARD, ROWS)
    assert found.shape == (50, 4)
    assert (found[:, 0].diff() > 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(50))


def test_the_temperature_counts() -> None:
    hot = Card(**{**vars(CARD), "temperature": 2.0})
    expected = probabilities_in(Brightness(1.0), CARD, ROWS)
    torch.testing.assert_close(probabilities_in(Brightness(2.0), hot, ROWS), expected)


@pytest.mark.parametrize(("steepness", "permitted"), [(1.0, True), (200.0, False)])
def test_bf16_is_permitted_only_where_it_moves_little(steepness: float, permitted: bool) -> None:
    found = measure_precisions(Brightness(steepness), CARD, ROWS)
    assert found["fp32"] == 0
    assert ("bf16" in found) == permitted
    if permitted:
        assert 0 < found["fp16"] < found["bf16"] <= 0.03


class Convolution(torch.nn.Module):
    """Logits by one convolution, which bf16 rounds and packing keeps in fp32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.layer(x).mean((2, 3)) * 10}


class Branching(Convolution):
    """The same, by a way that cannot be traced and so not be packed."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(x) if x.sum() > 0 else super().forward(x * 1)


def test_a_precision_is_measured_as_the_predictor_runs_it() -> None:
    network = Convolution()
    packed = pack(network, torch.bfloat16, normalise(ROWS[:1].float() / 255, CARD))
    exact = probabilities_in(network, CARD, ROWS)
    moved = (probabilities_in(packed, CARD, ROWS) - exact).abs().max().item()
    assert measure_precisions(network, CARD, ROWS)["bf16"] == round(moved, 4)
    assert measure_precisions(Branching(), CARD, ROWS)["bf16"] > round(moved, 4)
