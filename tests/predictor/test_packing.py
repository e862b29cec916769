from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.networks import NETWORKS
from predictor.networks.efficientnet_lite0 import SameConv2d
from predictor.packing import Layouts, PackedConvolution, pack

RAW_SHAPE = torch.Size((1, 64, 9, 9))
needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bf16 on this CPU"
)


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().eval().requires_grad_(False)


def packed_parts(network: nn.Module) -> list[PackedConvolution]:
    return [part for part in network.modules() if isinstance(part, PackedConvolution)]


def rows_of(count: int, side: int = 224) -> Tensor:
    torch.manual_seed(count)
    return torch.randn(count, side, side, 3).permute(0, 3, 1, 2)


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("dtype", "apart"),
    [(torch.float32, 1e-4), pytest.param(torch.bfloat16, 0.05, marks=needs_bf16)],
)
def test_a_packed_network_says_the_same_of_any_number_of_rows(
    name: str, dtype: torch.dtype, apart: float
) -> None:
    network = network_of(name)
    packed = pack(network, dtype, rows_of(1))
    for count in (1, 3):
        expected = network(rows_of(count))
        found = packed(rows_of(count))
        assert found.keys() == expected.keys()
        assert found["logits"].dtype == dtype
        scale = expected["logits"].abs().max()
        assert (found["logits"].float() - expected["logits"]).abs().max() <= apart * scale


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bf16)])
def test_weights_lie_as_the_kernels_for_so_many_rows_on_so_many_threads_read_them(
    capfd: pytest.CaptureFixture[str], dtype: torch.dtype
) -> None:
    network = network_of("efficientnet_lite0")
    shapes = {shape_of(it) for it in network.modules() if isinstance(it, nn.Conv2d)}
    packed = pack(network, dtype, rows_of(1, 288))
    for count, threads in ((1, 1), (1, 2), (2, 1), (3, 1), (4, 2)):
        torch.set_num_threads(threads)
        packed(rows_of(count, 288))
        capfd.readouterr()
        with torch.backends.mkldnn.verbose(1):  # type: ignore[no-untyped-call]
            packed(rows_of(count, 288))
        steps = [line for line in capfd.readouterr().out.splitlines() if ",exec," in line]
        assert len(steps) >= 49
        assert [it for it in steps if ",reorder," in it and it.split(",")[-2] in shapes] == []


def shape_of(convolution: nn.Conv2d) -> str:
    """That of its weights as oneDNN writes it, with the groups first if there are several."""
    rows, *rest = convolution.weight.shape
    several = convolution.groups > 1
    sides = [convolution.groups, rows // convolution.groups, *rest] if several else [rows, *rest]
    return "x".join(map(str, sides))


def test_weights_that_are_read_alike_are_there_once() -> None:
    convolution = nn.Conv2d(64, 64, 1)
    layouts = Layouts(convolution.weight.detach(), ([0, 0], [1, 1], [1, 1], 1), RAW_SHAPE)
    first = layouts.of(RAW_SHAPE)
    assert layouts.of(RAW_SHAPE) is first
    found = {id(layouts.of(torch.Size((rows, *RAW_SHAPE[1:])))) for rows in range(1, 9)}
    kinds = {
        bytes(torch.ops.mkldnn._get_mkldnn_serialized_md(layouts.of(shape)).numpy())
        for shape in (torch.Size((rows, *RAW_SHAPE[1:])) for rows in range(1, 9))
    }
    assert len(found) == len(kinds) < 8
    for rows in range(1, 9):
        weight = layouts.of(torch.Size((rows, *RAW_SHAPE[1:])))
        assert torch.equal(weight.to_dense(), convolution.weight)


@pytest.mark.parametrize(("name", "count"), [("resnet18", 20), ("efficientnet_lite0", 49)])
def test_nothing_but_packed_convolutions_is_left_of_the_layers(name: str, count: int) -> None:
    packed = pack(network_of(name), torch.float32, rows_of(1))
    assert len(packed_parts(packed)) == count
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6)
    assert not any(isinstance(part, kinds) for part in packed.modules())


@needs_bf16
@pytest.mark.parametrize(("name", "exact"), [("resnet18", 1), ("efficientnet_lite0", 2)])
def test_the_first_convolution_and_depthwise_ones_after_it_stay_in_fp32(
    name: str, exact: int
) -> None:
    parts = packed_parts(pack(network_of(name), torch.bfloat16, rows_of(1)))
    kinds = [part.bias.dtype for part in parts if part.bias is not None]
    assert kinds == [torch.float32] * exact + [torch.bfloat16] * (len(parts) - exact)


class Residual(nn.Module):
    """`of` makes the output of what comes before the layer and what comes after it.

    With `apart` the layer is given something else than what is added to its output.
    """

    def __init__(self, of: Callable[[Tensor, Tensor], Tensor], apart: bool) -> None:
        super().__init__()
        self.before, self.between = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.layer, self.of, self.apart = nn.Conv2d(4, 4, 3, padding=1), of, apart

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        return self.of(x, self.layer(self.between(x) if self.apart else x))


SUMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda x, out: x + out,
    "out first": lambda x, out: out + x,
    "needed later": lambda x, out: (x + out) * x,
    "doubled": lambda x, out: out + out,
    "activated twice": lambda x, out: functional.relu(x + out) + out,
    "with a number": lambda x, out: out + 1.0,
}
WORKED_IN = ("sum", "out first")


@torch.inference_mode()
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_worked_in_only_where_nobody_misses_what_it_overwrites(
    name: str, apart: bool
) -> None:
    network = Residual(SUMS[name], apart).eval()
    rows = rows_of(2, 8)
    given = rows.clone()
    packed = pack(network, torch.float32, rows_of(1, 8))
    torch.testing.assert_close(packed(rows), network(rows), rtol=1e-4, atol=1e-5)
    assert torch.equal(rows, given)
    assert (" + " in str(packed.code)) is not (apart and name in WORKED_IN)


class InputSum(nn.Module):
    """The network's own input is part of a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layer(x)
        return out


@torch.inference_mode()
def test_the_input_is_never_overwritten() -> None:
    network, rows = InputSum().eval(), rows_of(2, 8)
    given = rows.clone()
    torch.testing.assert_close(pack(network, torch.float32, rows)(rows), network(rows))
    assert torch.equal(rows, given)


class Own(nn.Conv2d):
    """A convolution of a kind that nobody knows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


@torch.inference_mode()
def test_a_convolution_of_an_unknown_kind_is_left_as_it_is() -> None:
    network, rows = nn.Sequential(nn.Conv2d(3, 4, 3), Own(4, 4, 3)).eval(), rows_of(2, 8)
    packed = pack(network, torch.float32, rows)
    torch.testing.assert_close(packed(rows), network(rows), rtol=1e-4, atol=1e-5)
    assert len(packed_parts(packed)) == 1


@torch.inference_mode()
@pytest.mark.parametrize("side", [15, 16])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_uneven_padding_is_in_the_kernel(side: int, kernel: int, stride: int) -> None:
    convolution = SameConv2d(3, 6, kernel, stride=stride, groups=3, bias=True).eval()
    rows = rows_of(2, side)
    packed = pack(nn.Sequential(convolution), torch.float32, rows)
    torch.testing.assert_close(packed(rows), convolution(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [nn.Linear(3, 4), nn.Sequential(nn.ReLU())])
def test_a_network_without_convolutions_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="nothing to pack"):
        pack(network, torch.float32, rows_of(1, 8))
