"""Batch norm folded into the convolution before it: the same function, one step less a layer."""

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Layers(fx.Tracer):
    """Traces a network layer by layer; convolutions stay whole, those of our own kinds too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def fold(network: nn.Module) -> fx.GraphModule:
    """A copy of a network in eval mode, as a graph of layers without foldable batch norms."""
    network = copy.deepcopy(network)
    folded = fx.GraphModule(network, Layers().trace(network))
    for node in folded.graph.nodes:
        norm = layer(folded, node)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        convolution = layer(folded, before)
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            folded.set_submodule(before.target, fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            folded.graph.erase_node(node)
    folded.recompile()
    return folded


def layer(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The layer that a node of the graph calls, if it calls one."""
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None
