"""What every network of the table keeps to; a new one is tested by standing in the table."""

import copy

import pytest
import torch
from torch import Tensor, nn

from predictor.networks import NETWORKS


@pytest.fixture(scope="module", params=list(NETWORKS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rows() -> Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network(name: str, rows: Tensor) -> nn.Module:
    """The network with batch statistics that are not 0 and 1, so that none can go unnoticed."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        network(rows)
    return network.eval()


@pytest.fixture(scope="module")
def out(network: nn.Module, rows: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        found: dict[str, Tensor] = network(rows)
    return found


def test_features_are_what_the_last_linear_layer_is_given(
    network: nn.Module, out: dict[str, Tensor]
) -> None:
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    assert out["features"].shape == (2, last.in_features)
    with torch.inference_mode():
        torch.testing.assert_close(last(out["features"]), out["logits"])


def test_logits_have_one_value_a_row_and_class(out: dict[str, Tensor]) -> None:
    assert out["logits"].shape == (2, 4)
    assert out["logits"].dtype == torch.float32


def test_classes_and_channels_are_arguments(name: str) -> None:
    network = NETWORKS[name](classes=7, channels=1).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 224, 224))["logits"].shape == (1, 7)


def test_the_mean_of_a_cam_plus_the_bias_is_the_logit(
    network: nn.Module, out: dict[str, Tensor]
) -> None:
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if "cam" not in out:
        assert len(linear) > 1, "a network with one linear layer has class activation maps"
        return
    assert out["cam"].shape[:2] == (2, 4)
    assert out["cam"].std() > 0
    logits = out["cam"].mean((2, 3)) + linear[0].bias
    torch.testing.assert_close(logits, out["logits"], atol=1e-5, rtol=1e-5)


def test_a_state_dict_carries_everything_that_decides_the_logits(
    name: str, network: nn.Module, rows: Tensor, out: dict[str, Tensor]
) -> None:
    torch.manual_seed(1)
    other = NETWORKS[name]().eval()
    with torch.inference_mode():
        assert not torch.equal(other(rows)["logits"], out["logits"])
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(rows)["logits"], out["logits"])


def test_rows_do_not_influence_each_other(
    network: nn.Module, rows: Tensor, out: dict[str, Tensor]
) -> None:
    with torch.inference_mode():
        alone = network(rows[1:])["logits"]
    torch.testing.assert_close(alone, out["logits"][1:], atol=1e-4, rtol=1e-4)


def test_bf16_weights_give_bf16_logits_close_to_fp32(
    network: nn.Module, rows: Tensor, out: dict[str, Tensor]
) -> None:
    short = copy.deepcopy(network).to(torch.bfloat16)
    with torch.inference_mode():
        logits = short(rows.to(torch.bfloat16))["logits"]
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(
        logits.float().softmax(1), out["logits"].softmax(1), atol=0.05, rtol=0
    )
