import pytest
import torch
from torch import Tensor, fx, nn

from predictor.folding import fold, layer
from predictor.networks import NETWORKS


def trained(network: nn.Module) -> nn.Module:
    """The network in eval mode, with batch norms that do something."""
    torch.manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return network.eval().requires_grad_(False)


def norms(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


def called(graph: fx.GraphModule, kind: type[nn.Module]) -> int:
    return sum(isinstance(layer(graph, node), kind) for node in graph.graph.nodes)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_folded_network_says_the_same_without_batch_norms(name: str) -> None:
    network = trained(NETWORKS[name]())
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    rows = torch.randn(2, 3, 224, 224)
    folded = fold(network)
    for key, expected in network(rows).items():
        torch.testing.assert_close(folded(rows)[key], expected, rtol=1e-4, atol=1e-4)
    assert norms(network) > 0
    assert called(folded, nn.BatchNorm2d) == 0
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


class Shared(nn.Module):
    """What the convolution says is needed before the batch norm too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        out: Tensor = x + self.norm(x)
        return out


def test_a_batch_norm_stays_where_its_input_is_needed_elsewhere() -> None:
    network = trained(Shared())
    rows = torch.randn(2, 3, 8, 8)
    folded = fold(network)
    torch.testing.assert_close(folded(rows), network(rows))
    assert called(folded, nn.BatchNorm2d) == 1
