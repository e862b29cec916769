"""A network for the CPU: each convolution with what follows it is one call of oneDNN.

These are the calls that `torch.compile` makes of a frozen network, but no compiler is needed: batch
norm is folded, weights lie in the layout that the machine's kernels read, and the activation or the
sum of a residual is worked in while the values are still at hand.
"""

import operator
from itertools import takewhile
from threading import Lock
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from predictor.folding import fold, layer
from predictor.networks.efficientnet_lite0 import SameConv2d, same_padding

# What oneDNN calls them, and the bounds it wants.
ACTIVATIONS: dict[type[nn.Module] | type[None], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
PACKABLE = (nn.Conv2d, SameConv2d)
NO_ACTIVATION: tuple[str, list[float]] = ("none", [])
# Two passes may come with the same new number of rows at once.
LAYING_OUT = Lock()


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
        self._weights = Layouts(weight.to(dtype), self._shape_of_steps, shape)
        self.bias = None if convolution.bias is None else convolution.bias.to(dtype)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        name, bounds = self._activation
        given = (x, self._weights.of(x.shape), self.bias, *self._shape_of_steps)
        if residual is None:
            alone: Tensor = torch.ops.mkldnn._convolution_pointwise(*given, name, bounds, "")
            return alone
        after = None if name == "none" else name
        added: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            residual, *given, "add", 1.0, after, bounds, ""
        )
        return added


class Layouts:
    """Weights in memory as the kernels for so many rows, on so many threads, read them.

    Where they lie otherwise oneDNN lays them out anew in every call: five layers of
    EfficientNet-Lite0 at 288 pixels took 53 of 70 ms for one row on one thread so. What several
    numbers of rows read alike is there once; what is new is laid out when it first comes.
    """

    def __init__(self, weight: Tensor, shape_of_steps: tuple[Any, ...], shape: torch.Size) -> None:
        self._shape_of_steps = shape_of_steps
        first = self._laid_out(weight, shape)
        self._distinct = [first]
        self._by_use = {self._use(shape): first}

    def of(self, shape: torch.Size) -> Tensor:
        """For an input of this shape, whose rows alone may differ from one time to the next."""
        use = self._use(shape)
        found = self._by_use.get(use)
        if found is None:
            with LAYING_OUT:
                laid_out = self._laid_out(self._distinct[0].to_dense(), shape)
                found = self._by_use[use] = self._shared(laid_out)
        return found

    def _use(self, shape: torch.Size) -> tuple[int, int]:
        return shape[0], torch.get_num_threads()

    def _laid_out(self, weight: Tensor, shape: torch.Size) -> Tensor:
        laid_out: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            weight, *self._shape_of_steps, list(shape)
        )
        return laid_out

    def _shared(self, weight: Tensor) -> Tensor:
        """The one that lies in memory as this one does; this one if it is the first of its kind."""
        layout = torch.ops.mkldnn._get_mkldnn_serialized_md
        for known in self._distinct:
            if torch.equal(layout(known), layout(weight)):
                return known
        self._distinct.append(weight)
        return weight


# Layers whose output is no other tensor under another name.
FRESH = (PackedConvolution, nn.MaxPool2d)


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

    In a lower precision the first convolution stays in fp32, and depthwise ones after it: what
    bf16 rounds off so early costs more accuracy than all other layers together (EfficientNet-Lite0
    at 288 pixels, probabilities of 8 phantoms: 0.047 with the first alone, 0.025 with two), and
    they are a small part of the work.

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
    nodes = [it for it in packed.graph.nodes if type(layer(packed, it)) in PACKABLE]
    depthwise = [_is_depthwise(layer(packed, it)) for it in nodes]
    for node, depthwise_next in zip(nodes, [*depthwise[1:], False], strict=True):
        last = _replace(packed, node, shapes, own)
        if own != dtype and not depthwise_next:
            own = dtype
            with packed.graph.inserting_after(last):
                lowered = packed.graph.call_method("to", (last, dtype))
            shapes.of[lowered] = shapes.of[last]
            last.replace_all_uses_with(lowered)
            lowered.update_arg(0, last)
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


def _replace(packed: fx.GraphModule, node: fx.Node, shapes: Shapes, dtype: torch.dtype) -> fx.Node:
    """Put one packed call in the place of a convolution and of what it can take in after it."""
    graph, convolution = packed.graph, layer(packed, node)
    assert isinstance(convolution, nn.Conv2d)
    source, residual = node.all_input_nodes[0], _residual(packed, node)
    taken_in = [node]
    if residual is not None:
        taken_in += node.users
    activation = NO_ACTIVATION
    after = _only_user(taken_in[-1])
    if after is not None and (found := ACTIVATIONS.get(type(layer(packed, after)))) is not None:
        activation = found
        taken_in.append(after)
    name = f"packed_{node.name}"
    packed.add_submodule(name, PackedConvolution(convolution, shapes.of[source], dtype, activation))
    with graph.inserting_before(taken_in[-1]):
        call = graph.call_module(name, (source,) if residual is None else (source, residual))
    shapes.of[call] = shapes.of[taken_in[-1]]
    taken_in[-1].replace_all_uses_with(call)
    for it in reversed(taken_in):
        graph.erase_node(it)
    return call


def _residual(packed: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """What is added to the output of a convolution, if it may be overwritten by the sum.

    That is so where a layer made it and nothing needs it after the convolution has begun.
    """
    total = _only_user(node)
    if total is None or total.target is not operator.add or len(total.all_input_nodes) != 2:
        return None
    other = next(it for it in total.all_input_nodes if it is not node)
    if not isinstance(layer(packed, other), FRESH):
        return None
    done = set(takewhile(lambda it: it is not node, packed.graph.nodes))
    return other if other in done and set(other.users) <= done | {total} else None


def _is_depthwise(convolution: nn.Module | None) -> bool:
    return isinstance(convolution, nn.Conv2d) and convolution.groups > 1


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
