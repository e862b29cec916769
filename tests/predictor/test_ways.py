import pytest
import torch
from torch import Tensor, nn

from predictor.ways import PLAIN, WAYS, Way, possible_ways

NAMES = {
    "cpu": ["packed bf16", "packed fp32", "eager bf16 channels_last", "eager fp32 channels_last"],
    "cuda": [
        "eager bf16 channels_last",
        "eager fp32 channels_last",
        "eager fp16 channels_last",
    ],
}


class Seen(nn.Module):
    """Keeps what it is given."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.given = x
        return {"logits": x}


@pytest.mark.parametrize("device", NAMES)
def test_every_kind_of_device_has_its_ways(device: str) -> None:
    assert [way.name for way in possible_ways(device)] == NAMES[device]


@pytest.mark.parametrize(
    "way", [it for it in (PLAIN, *WAYS) if it.name.startswith("eager")], ids=lambda it: it.name
)
def test_an_eager_network_sees_rows_in_its_precision_and_memory_format(way: Way) -> None:
    rows = torch.randn(2, 8, 8, 3).permute(0, 3, 1, 2)
    network = way.prepare(Seen(), rows)
    given = network(rows)["logits"]
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert given.dtype == dtypes[way.precision]
    assert given.is_contiguous() is ("channels_last" not in way.name)
    assert given.is_contiguous(memory_format=torch.channels_last) is ("channels_last" in way.name)
