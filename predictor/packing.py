"""A network for the CPU: each convolution with what follows it is one call of oneDNN.

These are the calls that `torch.compile` makes of a frozen network, but no compiler is needed: batch
norm is folded, weights lie in the layout that the machine's kernels read, and the activation or the
sum of a residual is worked in while the values are still at hand.
"""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from predictor.folding import fold, layer
from predictor.networks.efficientnet_lite0 import SameConv2d, same_padding

# What oneDNN calls them, and the bounds it wants.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
PACKABLE = (nn.Conv2d, SameConv2d)
NO_ACTIVATION: tuple[str, list[float]] = ("none", [])


class PackedConvolution(nn.Module):
    """Convolution, sum with `residual` if there is one, activation: one call.

    `residual` is overwritten by the sum.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        shape: torch.Size,
        dtype: torch.dtype,
        activation: tuple[str, list[float]],
    ) -> None:
        super().__init__()
        weight, padding = without_uneven_padding(convolution, shape)
        self._shape_of_steps: tuple[Any, ...] = (
            padding,
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self._activation = activation
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.to(dtype), *self._shape_of_steps, list(shape)
        )
        self.bias = None if convolution.bias is None else convolution.bias.to(dtype)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        name, bounds = self._activation
        given = (x, self.weight, self.bias, *self._shape_of_steps)
        if residual is None:
            alone: Tensor = torch.ops.mkldnn._convolution_pointwise(*given, name, bounds, "")
            return alone
        after = None if name == "none" else name
        added: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            residual, *given, "add", 1.0, after, bounds, ""
        )
        return added


def without_uneven_padding(convolution: nn.Conv2d, shape: torch.Size) -> tuple[Tensor, list[int]]:
    """Weights and even padding that do what the convolution does to an input of this shape.

    Where one zero more is needed below and to the right, the kernel gets a row and a column of
    zeros above and to the left: cheaper than a padded copy of the input.
    """
    if not isinstance(convolution, SameConv2d):
        return convolution.weight, [int(side) for side in convolution.padding]
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    top, bottom = same_padding(shape[2], kernel, stride)
    left, right = same_padding(shape[3], kernel, stride)
    weight = functional.pad(convolution.weight, (right - left, 0, bottom - top, 0))
    return weight, [bottom, right]


def pack(network: nn.Module, dtype: torch.dtype, example: Tensor) -> nn.Module:
    """The network for normalised fp32 rows shaped as `example` [N,C,H,W], whatever their number.

    In a lower precision the first convolution stays in fp32: what bf16 rounds off the input costs
    more accuracy than all other layers together (EfficientNet-Lite0: 0.073 in probability, and
    0.026 with the first layer in fp32).

    Raises:
        ValueError: there is no convolution in it.
    """
    if not any(type(part) in PACKABLE for part in network.modules()):
        raise ValueError("a network without convolutions has nothing to pack")
    packed = fold(network)
    shapes = Shapes(packed)
    with torch.inference_mode():
        shapes.run(example)
    own = torch.float32
    for node, shape in [
        (it, shapes.of[it.args[0]])
        for it in packed.graph.nodes
        if type(layer(packed, it)) in PACKABLE
    ]:
        last = _replace(packed, node, shape, own)
        if own != dtype:
            with packed.graph.inserting_after(last):
                lowered = packed.graph.call_method("to", (last, dtype))
            last.replace_all_uses_with(lowered, lambda user, cast=lowered: user is not cast)
            own = dtype
    packed.graph.eliminate_dead_code()
    packed.delete_all_unused_submodules()
    packed.recompile()
    # What was not packed, such as linear layers.
    for part in packed.modules():
        if not isinstance(part, PackedConvolution):
            for name, parameter in part.named_parameters(recurse=False):
                setattr(part, name, nn.Parameter(parameter.to(dtype), requires_grad=False))
    return packed


class Shapes(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor in it."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.of: dict[fx.Node, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.of[n] = value.shape
        return value


def _replace(
    packed: fx.GraphModule, node: fx.Node, shape: torch.Size, dtype: torch.dtype
) -> fx.Node:
    """Put one packed call in the place of a convolution and of what it can take in after it."""
    graph, convolution = packed.graph, layer(packed, node)
    assert isinstance(convolution, nn.Conv2d)
    inputs, last = (node.args[0],), node
    if (residual := _residual(graph, node)) is not None:
        inputs, last = (node.args[0], residual), _only_user(node)
    activation = NO_ACTIVATION
    after = _only_user(last)
    if after is not None and type(layer(packed, after)) in ACTIVATIONS:
        activation, last = ACTIVATIONS[type(layer(packed, after))], after
    name = f"packed_{node.name}"
    packed.add_submodule(name, PackedConvolution(convolution, shape, dtype, activation))
    with graph.inserting_before(last):
        call = graph.call_module(name, inputs)
    last.replace_all_uses_with(call)
    while last is not node:
        taken_in, last = last, next(it for it in last.all_input_nodes if it not in inputs)
        graph.erase_node(taken_in)
    graph.erase_node(node)
    return call


def _residual(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """What is added to the output of a convolution, if nothing else needs it afterwards."""
    total = _only_user(node)
    if total is None or total.target is not operator.add or len(total.all_input_nodes) != 2:
        return None
    other = next(it for it in total.all_input_nodes if it is not node)
    order = {it: place for place, it in enumerate(graph.nodes)}
    free = other.op == "call_module" and all(order[it] <= order[total] for it in other.users)
    return other if free and order[other] < order[node] else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
