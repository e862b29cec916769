import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from predictor.checkpoint import (
    CheckpointError,
    build_network,
    find_card,
    load_weights,
)
from predictor.distance import bank_of
from serving.card import IMAGENET_MEAN, IMAGENET_STD, Card, CardError, InputSpec, write_card
from serving.settings import Process, Settings
from tests.serving.test_card import GATE

SMALL = Card(
    architecture="custom_cnn",
    input=InputSpec(32, 32),
    arguments={"hidden_dims": [4, 8], "fc_hidden": 16},
)
OLD = {"name": "cnn", "hidden_dims": [4, 8], "fc_hidden": 16, "image_size": 32}


def settings(folder: Path, model: dict[str, Any] | None = None) -> Settings:
    process = Process(config_path=folder / "config.yaml", model_path=folder / "model.pt")
    return Settings(process=process, model=model)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(SMALL).eval()


@pytest.fixture
def weights(tmp_path: Path, network: nn.Module) -> Path:
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    return path


def as_it_is(state: dict[str, Tensor]) -> Any:
    return state


def under_state_dict(state: dict[str, Tensor]) -> Any:
    return {"state_dict": state, "epoch": 3}


def lightning(state: dict[str, Tensor]) -> Any:
    inner = {f"model.{key}": value for key, value in state.items()}
    inner["criterion.weight"] = torch.ones(4)
    return {"epoch": 1, "pytorch-lightning_version": "2.5.0", "state_dict": inner, "loops": {}}


def with_bank(state: dict[str, Tensor]) -> Any:
    return {"state_dict": state, "bank": bank_of(torch.randn(9, 16))}


def half(state: dict[str, Tensor]) -> Any:
    return {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }


@pytest.mark.parametrize("form", [as_it_is, under_state_dict, lightning, with_bank])
def test_every_form_of_a_checkpoint_gives_the_same_logits(
    form: Callable[[dict[str, Tensor]], Any], network: nn.Module, tmp_path: Path
) -> None:
    torch.save(form(network.state_dict()), tmp_path / "model.pt")
    loaded, _ = load_weights(SMALL, tmp_path / "model.pt")
    rows = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(rows)["logits"], network(rows)["logits"])


def test_a_bank_comes_back_as_fp32_of_length_one(network: nn.Module, tmp_path: Path) -> None:
    features = torch.randn(9, 16) * 3
    content = {"state_dict": network.state_dict(), "bank": bank_of(features)}
    torch.save(content, tmp_path / "model.pt")
    bank = load_weights(SMALL, tmp_path / "model.pt")[1]
    assert bank is not None
    assert bank.dtype == torch.float32
    torch.testing.assert_close(bank.norm(dim=1), torch.ones(9))
    torch.testing.assert_close(bank, functional.normalize(features, dim=1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("form", [as_it_is, under_state_dict, lightning])
def test_other_checkpoints_have_no_bank(
    form: Callable[[dict[str, Tensor]], Any], network: nn.Module, tmp_path: Path
) -> None:
    torch.save(form({**network.state_dict()}), tmp_path / "model.pt")
    assert load_weights(SMALL, tmp_path / "model.pt")[1] is None


@pytest.mark.parametrize(
    ("bank", "said"),
    [
        ([1.0, 2.0], "a bank that is none"),
        (torch.ones(16), "a bank that is none"),
        (torch.ones(0, 16), "a bank that is none"),
        (torch.full((3, 16), torch.nan), "no numbers"),
    ],
)
def test_a_bank_that_is_none_is_refused(
    network: nn.Module, tmp_path: Path, bank: object, said: str
) -> None:
    torch.save({"state_dict": network.state_dict(), "bank": bank}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=said):
        load_weights(SMALL, tmp_path / "model.pt")


def test_a_card_that_bounds_the_distance_needs_a_bank(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    with pytest.raises(
        CheckpointError, match=r"model\.pt have no bank .* feature_distance to null"
    ):
        load_weights(dataclasses.replace(SMALL, gate=GATE), path)
    unbounded = dataclasses.replace(GATE, feature_distance=None)
    load_weights(dataclasses.replace(SMALL, gate=unbounded), path)
    torch.save(with_bank(network.state_dict()), path)
    load_weights(dataclasses.replace(SMALL, gate=GATE), path)


def test_a_loaded_network_is_fp32_in_eval_mode_without_gradients(
    network: nn.Module, tmp_path: Path
) -> None:
    torch.save(half(network.state_dict()), tmp_path / "model.pt")
    loaded, _ = load_weights(SMALL, tmp_path / "model.pt")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not any(module.training for module in loaded.modules())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "are no checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", "are no checkpoint"),
        (b"PK\x03\x04 and no more", "are no checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=text):
        load_weights(SMALL, tmp_path / "model.pt")


def test_a_truncated_checkpoint_is_refused(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="are no checkpoint"):
        load_weights(SMALL, weights)


class Payload:
    """A pickle that makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (self.path,)


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path: Path) -> None:
    torch.save({"state_dict": Payload(tmp_path / "ran")}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"Python objects.*save tensors alone"):
        load_weights(SMALL, tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": 3}, {1: torch.ones(1)}])
def test_a_checkpoint_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="hold no state dict"):
        load_weights(SMALL, tmp_path / "model.pt")


def test_missing_weights_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="do not exist: set MODEL_PATH"):
        load_weights(SMALL, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="do not exist: set MODEL_PATH"):
        find_card(settings(tmp_path, OLD))


def test_a_folder_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        find_card(settings(tmp_path, OLD))


def test_keys_and_shapes_that_do_not_fit_are_named(weights: Path, network: nn.Module) -> None:
    state = network.state_dict()
    state["extra"] = torch.ones(1)
    del state["features.0.weight"], state["features.0.bias"], state["features.1.weight"]
    state["classifier.4.bias"] = torch.ones(1000)
    torch.save(state, weights)
    with pytest.raises(CheckpointError) as caught:
        load_weights(SMALL, weights)
    text = str(caught.value)
    assert "3 missing (features.0.weight, features.0.bias, …)" in text
    assert "1 unexpected (extra)" in text
    assert "1 misshapen (classifier.4.bias is [1000], not [4])" in text
    assert len(text) < 300 + len(str(weights))
    assert "\n" not in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"architecture": "vgg16"}, "architecture is 'vgg16', expected one of resnet18"),
        ({"arguments": {"dropuot": 0.1}}, "no arguments \\['dropuot'\\], expected some of"),
        ({"arguments": {"classes": 5}}, "no arguments \\['classes'\\]"),
        ({"arguments": {"fc_hidden": "many"}}, "no custom_cnn can be built"),
        ({"arguments": {"hidden_dims": [4] * 6}}, "no custom_cnn can be built"),
        ({"input": InputSpec(32, 48)}, "32x48, custom_cnn needs a square"),
    ],
)
def test_a_card_from_which_no_network_can_be_built_is_refused(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(CheckpointError, match=text):
        build_network(dataclasses.replace(SMALL, **changes))


def test_the_card_beside_the_weights_is_taken(weights: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    card = dataclasses.replace(SMALL, weights_sha256=digest, temperature=1.5)
    write_card(card, weights.with_suffix(".yaml"))
    found = find_card(settings(weights.parent))
    assert found == card
    load_weights(found, weights)


def test_the_old_section_stands_in_for_a_card(weights: Path) -> None:
    found = find_card(settings(weights.parent, OLD))
    assert found.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    load_weights(found, weights)


def test_a_card_and_an_old_section_that_agree_are_taken(weights: Path) -> None:
    write_card(SMALL, weights.with_suffix(".yaml"))
    assert find_card(settings(weights.parent, {**OLD, "pretrained": False})) == SMALL


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"name": "resnet18"}, "architecture is 'custom_cnn' in .*yaml and 'resnet18' in .*config"),
        ({"image_size": 224}, "image_size is 32 in .* and 224 in"),
        ({"input_channels": 1}, "input_channels is 3 in .* and 1 in"),
        ({"hidden_dims": [4, 16]}, "hidden_dims is \\[4, 8\\] in .* and \\[4, 16\\] in"),
        ({"normalize": {"mean": [0, 0, 0]}}, "mean is \\[0.485, .* and \\[0.0, 0.0, 0.0\\] in"),
    ],
)
def test_a_card_and_an_old_section_in_conflict_are_refused_with_both_values(
    stated: dict[str, Any], text: str, weights: Path
) -> None:
    write_card(SMALL, weights.with_suffix(".yaml"))
    with pytest.raises(CheckpointError, match=text):
        find_card(settings(weights.parent, {**OLD, **stated}))


def test_weights_that_nothing_describes_are_refused_with_what_to_do(weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing says what .*add its card .*, or a model"):
        find_card(settings(weights.parent))


def test_a_card_of_other_weights_is_refused_with_both_digests(weights: Path) -> None:
    write_card(dataclasses.replace(SMALL, weights_sha256="0" * 64), weights.with_suffix(".yaml"))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=f"{'0' * 12}….* has {digest[:12]}…"):
        find_card(settings(weights.parent))


def test_a_broken_card_is_refused_by_its_path(weights: Path) -> None:
    weights.with_suffix(".yaml").write_text("- a list")
    with pytest.raises(CardError, match=r"model\.yaml: expected a mapping"):
        find_card(settings(weights.parent))


class OldResNet18(nn.Module):
    """How the old script wrapped torchvision's network."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.resnet18(weights=None, num_classes=4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.backbone(x)
        return logits


def test_weights_of_the_old_script_give_its_class_and_softmax(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = OldResNet18()
    with torch.no_grad():
        old(torch.randn(4, 3, 64, 64))
    torch.save(old.eval().state_dict(), tmp_path / "model.pt")
    section = {"name": "resnet18", "num_classes": 4, "pretrained": True, "image_size": 224}
    card = find_card(settings(tmp_path, section))
    network, _ = load_weights(card, tmp_path / "model.pt")
    rows = torch.rand(3, 3, 224, 224)
    with torch.inference_mode():
        theirs = old(normalise(rows, IMAGENET_MEAN, IMAGENET_STD)).softmax(1)
        ours = network(normalise(rows, card.mean, card.std))["logits"].softmax(1)
    assert torch.equal(ours.argmax(1), theirs.argmax(1))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def normalise(rows: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (rows - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
