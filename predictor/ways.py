"""How the network can be run: an ordered list, what is faster as a rule first."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predictor.packing import pack

Prepare = Callable[[nn.Module, Tensor], nn.Module]


@dataclass(frozen=True)
class Way:
    """One way to run the network.

    `prepare(network, example)` gives a network in its place that takes fp32 rows [N,C,H,W] of the
    example's size, and leaves the given one as it is.
    """

    name: str
    precision: str
    prepare: Prepare
    devices: tuple[str, ...] = ("cpu", "cuda")


class Eager(nn.Module):
    """A copy of the network in one precision and memory format, run layer by layer."""

    def __init__(
        self, network: nn.Module, dtype: torch.dtype, memory_format: torch.memory_format
    ) -> None:
        super().__init__()
        self._dtype, self._memory_format = dtype, memory_format
        self._network = copy.deepcopy(network).to(dtype).to(memory_format=memory_format)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self._network(
            x.to(self._dtype, memory_format=self._memory_format)
        )
        return outputs


def eager(dtype: torch.dtype, memory_format: torch.memory_format) -> Prepare:
    return lambda network, example: Eager(network, dtype, memory_format)


def packed(dtype: torch.dtype) -> Prepare:
    return lambda network, example: pack(network, dtype, example)


# What every other way has to agree with.
PLAIN = Way("eager fp32", "fp32", eager(torch.float32, torch.contiguous_format))
WAYS = (
    Way("packed bf16", "bf16", packed(torch.bfloat16), devices=("cpu",)),
    Way("packed fp32", "fp32", packed(torch.float32), devices=("cpu",)),
    Way("eager bf16 channels_last", "bf16", eager(torch.bfloat16, torch.channels_last)),
    Way("eager fp32 channels_last", "fp32", eager(torch.float32, torch.channels_last)),
    Way("eager fp16 channels_last", "fp16", eager(torch.float16, torch.channels_last), ("cuda",)),
)


def possible_ways(device: str) -> list[Way]:
    """The ways beside the plain one that a kind of device has."""
    return [way for way in WAYS if device in way.devices]
